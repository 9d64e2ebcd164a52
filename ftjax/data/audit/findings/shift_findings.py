"""Splits that a classifier on frozen features tells apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ftjax.data.audit.examples import NAMES, SHOWN, Examples
from ftjax.data.audit.finding import Finding
from ftjax.data.audit.measures.shift import shift_between

LEVEL = 0.01
"""Of the test of both held-out splits together (Bonferroni)."""
LARGE = 0.75
"""AUC from which on a shift is a warning: most examples show which split they are of."""


def shift_findings(examples: Examples, features: np.ndarray) -> Iterator[Finding]:
    """What tells validation and test from training, each with its AUC."""
    held = [name for name in NAMES[1:] if len(getattr(examples.splits, name))]
    for name in held:
        found = shift_between(features[examples.within('train')], features[examples.within(name)])
        if found is None or found.p * len(held) > LEVEL:
            continue
        yield Finding(
            'shift between splits',
            'warning' if found.auc >= LARGE else 'note',
            f'{SHOWN[name]} examples differ from training ones: a classifier on frozen features '
            f'tells them apart with AUC {found.auc:.2f} (0.5 for no difference; p {found.p:.2g})',
            measured=found.auc,
        )
