"""A trained network adapted to unlabelled inputs, and what came of it."""

from __future__ import annotations

import dataclasses
import logging

from ftjax.data.audit.measures.keys import content_keys
from ftjax.data.dataset import Dataset
from ftjax.freezing.plan.verification import verify
from ftjax.registry import parse
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.prepare import Prepared
from ftjax.training.adaptation.methods import Trained
from ftjax.training.loop.fit import fit
from ftjax.training.loop.fit_result import FitResult
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.sweeps.weight_averaging import validated

_log = logging.getLogger(__name__)


def adapted(
    prepared: Prepared, spec: RunSpec, result: FitResult, progress: bool = False
) -> tuple[FitResult, dict[str, object]]:
    """The result with adapted variables and their validation; facts: seen, moved, metrics before.

    The result's verification stays that of the training; `moved` lists the leaves and statistics
    that the adaptation changed after it.
    `test_inputs_seen` counts test examples whose inputs are among the unlabelled ones: scores on
    them are transductive, of inputs that were seen without their labels.
    """
    unlabelled, name = prepared.data.unlabelled, prepared.config.train.adapt
    assert unlabelled is not None
    trained = Trained(spec, result.variables, unlabelled, lambda own: fit(own, progress=progress))
    variables, seen = parse('adaptation', name)(trained)
    test = prepared.data.test
    facts = {
        'method': name,
        'source': unlabelled.name,
        **seen,
        'moved': list(verify(result.variables, variables, ()).moved_frozen),
        'test_inputs_seen': _seen(test, unlabelled),
        'fingerprint': unlabelled.fingerprint,
    }
    if len(test):
        facts['metrics_before'] = split_metrics(prepared, result.variables)
    validation = result.validation
    if len(prepared.data.val):
        facts['validation_before'] = validation
        validation = validated(spec, variables)
    if facts['test_inputs_seen']:
        _log.info(
            '%s: %d of %d test examples are among the unlabelled ones: their inputs were seen',
            name,
            facts['test_inputs_seen'],
            len(test),
        )
    return dataclasses.replace(result, variables=variables, validation=validation), facts


def _seen(test: Dataset, unlabelled: Dataset) -> int:
    """How many test examples have an input of the unlabelled ones; 0 where keys are not known."""
    if test.kind != unlabelled.kind or not len(test):
        return 0
    known = set(content_keys(unlabelled) or ())
    return sum(key in known for key in content_keys(test) or ())
