"""The checks of the audit that need features, on those that a run has stored already."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator

import jax
import numpy as np

from ftjax.data import Splits
from ftjax.data.audit.examples import Examples
from ftjax.data.audit.finding import Finding, worst_first
from ftjax.data.audit.findings.label_findings import label_findings
from ftjax.data.audit.findings.shift_findings import shift_findings
from ftjax.io.files.cache_folder import cache_folder
from ftjax.pretrained.weights_identity import weights_hash
from ftjax.runs.before_training.frozen_features import pooled
from ftjax.runs.prepare import Prepared
from ftjax.training.feature_cache.key import features_key, prefix_of
from ftjax.training.feature_cache.store import stored

_log = logging.getLogger(__name__)
MOST = 2_000_000
"""Examples times features (at most 128) times classes up to which heads are fitted in passing:
some seconds of it."""


def feature_audit(prepared: Prepared) -> tuple[Finding, ...]:
    """Likely label errors and shifts, where the run's features are stored; else nothing.

    Features are those of training and validation examples at the first cut of the plan: in the
    memory of this process, or in files of an earlier run. What is found is kept with the splits,
    and logged once. `--audit=full` looks at all examples, and needs no run before.
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
    features = _features(prepared)
    if features is None:
        return None
    data = prepared.data
    examples = Examples(dataclasses.replace(data, test=data.test.take([])))

    def checks() -> Iterator[Finding]:
        yield from label_findings(examples, features)
        yield from shift_findings(examples, features)

    width, classes = min(features.shape[1], 128), max(data.train.num_classes or 1, 5)
    if len(features) * width * classes > MOST:
        _log.info(
            'the stored features of %d examples are too many to look for label errors in passing; '
            '--audit=full does',
            len(features),
        )
        return ()

    return worst_first(checks())


def _features(prepared: Prepared) -> np.ndarray | None:
    """(training and validation examples, d) float32; None where they are not stored."""
    data, config, network = prepared.data, prepared.config, prepared.network
    cut = prepared.plan.at(0).cut
    if cut is None or cut == network.stages[0]:
        return None
    weights = weights_hash(prefix_of(network, jax.device_get(prepared.variables), cut))
    folder, parts = config.train.cache_folder or cache_folder() / 'features', []
    for part in (data.train, data.val):
        if not len(part):
            continue
        key = features_key(
            *(network, cut, weights, part, prepared.preprocessing, config.data.image_size)
        )
        found = stored(key, len(part), folder)
        if found is None or 'hidden' not in found.arrays:
            return None
        mask = found.arrays.get('mask')
        parts.append(
            np.concatenate(
                [
                    pooled(
                        np.asarray(found.arrays['hidden'][at : at + 1024], np.float32),
                        None if mask is None else np.asarray(mask[at : at + 1024]),
                    )
                    for at in range(0, len(part), 1024)
                ]
            )
        )
    return np.concatenate(parts) if parts else None
