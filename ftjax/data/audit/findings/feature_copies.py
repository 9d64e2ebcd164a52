"""Near copies across splits that stored features show, and the always-on checks did not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ftjax.data.audit.examples import NAMES, SHOWN, Examples
from ftjax.data.audit.finding import Finding, Row
from ftjax.data.audit.measures.confirmed import alike
from ftjax.data.audit.measures.near_features import feature_pairs
from ftjax.data.audit.quick import Audit


def feature_copies(examples: Examples, features: np.ndarray, known: Audit) -> Iterator[Finding]:
    """Held-out examples with a near copy in training; those that `known` counts are left out.

    Args:
      examples: of the splits that have features.
      features: (n, d) of these, in their order.
      known: the audit of all examples of the same splits.
    """
    pairs, _ = feature_pairs(features)
    of = examples.split
    pairs = pairs[(of[pairs[:, 0]] == 0) & (of[pairs[:, 1]] > 0)]
    for split in (2, 1):
        seen = np.concatenate(known.leaked(split))
        apart = pairs[of[pairs[:, 1]] == split]
        apart = apart[~np.isin(apart[:, 1] - examples.starts[split], seen)]
        apart = apart[alike(examples, apart)]
        copies = np.unique(apart[:, 1])
        if len(copies):
            yield Finding(
                'near copies in features',
                'warning',
                f'{len(copies):,} of {len(examples.parts[split]):,} {SHOWN[NAMES[split]]} examples '
                'have a near copy in training that pixels or words alone did not show (cosine of '
                'stored features): scores on them may be of what was seen',
                tuple(
                    Row(int(b), 'review', partner=int(a), detail='like features')
                    for a, b in apart.tolist()
                ),
            )
