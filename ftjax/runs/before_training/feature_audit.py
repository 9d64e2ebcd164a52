"""The checks of the audit that need features, on those that a run has stored already."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator

import jax
import numpy as np

from ftjax.data import Splits
from ftjax.data.audit.examples import NAMES, Examples
from ftjax.data.audit.finding import Finding, worst_first
from ftjax.data.audit.quick import quick_audit
from ftjax.io.files.cache_folder import cache_folder
from ftjax.pretrained.weights_identity import weights_hash
from ftjax.runs.prepare import Prepared
from ftjax.training.feature_cache.key import features_key, prefix_of

_log = logging.getLogger(__name__)
MOST_COMPARED = 10**10
"""Pairs of examples times features up to which near copies are looked for in passing: a second."""
MOST = 2_000_000
"""Examples times features (at most 128) times classes up to which heads are fitted in passing:
some seconds of it."""


def feature_audit(prepared: Prepared) -> tuple[Finding, ...]:
    """Likely label errors, near copies across splits and shifts, where features are stored.

    Features are those at the first cut of the plan: in the memory of this process, or in files of
    an earlier run. A run stores those of training and validation examples; those of test examples
    are looked at where they are stored too. What is found is kept with the splits, and logged
    once, with the splits that were looked at. `--audit=full` looks at all examples, and needs no
    run before.
    """
    kept = vars(prepared.data)
    if '_feature_audit' not in kept:
        found = _found(prepared)
        if found is None:
            return ()
        kept['_feature_audit'] = found
        for one in found:
            _log.info('note: %s', one.message)
    return kept['_feature_audit']


def known_findings(data: Splits) -> tuple[Finding, ...]:
    """What `feature_audit` has found of splits so far."""
    return vars(data).get('_feature_audit', ())


def _found(prepared: Prepared) -> tuple[Finding, ...] | None:
    known = _features(prepared)
    if known is None:
        return None
    data = prepared.data
    # Splits without stored features are not looked at: as if they had no examples.
    examples = Examples(
        dataclasses.replace(
            data, **{name: getattr(data, name).take([]) for name in NAMES if name not in known}
        )
    )
    features = np.concatenate([known[name] for name, _, _ in examples.blocks()])
    n, all_features = features.shape
    width, classes = min(all_features, 128), max(data.train.num_classes or 1, 5)
    too_many = []
    if n * width * classes > MOST:
        too_many.append('label errors and shifts')
    if n * n * all_features > MOST_COMPARED:
        too_many.append('near copies')
    if too_many:
        _log.info(
            'the stored features of %d examples are too many to look for %s in passing; '
            '--audit=full does',
            n,
            ' and '.join(too_many),
        )

    from ftjax.data.audit.findings.feature_copies import feature_copies
    from ftjax.data.audit.findings.label_findings import label_findings
    from ftjax.data.audit.findings.shift_findings import shift_findings

    def checks() -> Iterator[Finding]:
        # Windows of different images may be alike, of sky say.
        if 'near copies' not in too_many and data.whole is None:
            yield from feature_copies(examples, features, quick_audit(data))
        if n * width * classes <= MOST:
            yield from label_findings(examples, features)
            yield from shift_findings(examples, features)

    found = worst_first(checks())
    _log.info(
        'stored features of %s looked at: %s',
        ', '.join(f'{name} {len(known[name]):,}' for name in NAMES if name in known),
        f'{len(found)} findings' if found else 'nothing was found',
    )
    return found


def _features(prepared: Prepared) -> dict[str, np.ndarray] | None:
    """{split: (its examples, d) float32} of those that are stored; None without training's."""
    data, config, network = prepared.data, prepared.config, prepared.network
    cut = prepared.plan.at(0).cut
    if cut is None or cut == network.stages[0]:
        return None
    # Here, since most runs have no stored features.
    from ftjax.evaluation.predict import mean_over_positions
    from ftjax.training.feature_cache.store import stored

    weights = weights_hash(prefix_of(network, jax.device_get(prepared.variables), cut))
    folder, known = config.train.cache_folder or cache_folder() / 'features', {}
    for name in NAMES:
        part = getattr(data, name)
        if not len(part):
            continue
        key = features_key(
            *(network, cut, weights, part, prepared.preprocessing, config.data.image_size)
        )
        found = stored(key, len(part), folder)
        if found is None or 'hidden' not in found.arrays:
            if name == 'train':
                return None
            continue
        mask = found.arrays.get('mask')
        known[name] = np.concatenate(
            [
                mean_over_positions(
                    np.asarray(found.arrays['hidden'][at : at + 1024], np.float32),
                    None if mask is None else np.asarray(mask[at : at + 1024]),
                )
                for at in range(0, len(part), 1024)
            ]
        )
    return known or None
