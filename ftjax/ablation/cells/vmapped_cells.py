"""Cells of an arm that differ in their rate alone, as one program: see `fit_many`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax

from ftjax.ablation.cells.extra_test_sets import further_tests
from ftjax.ablation.cells.movement import movement_fields
from ftjax.ablation.cells.row import finished_fields, validated
from ftjax.ablation.cells.unfamiliar import unfamiliar_fields
from ftjax.ablation.settings import AblationSettings
from ftjax.evaluation.predictions import NonFinitePredictions
from ftjax.freezing.partition import combine
from ftjax.freezing.plan.verification import verify
from ftjax.leaves import flatten
from ftjax.runs.evaluate import split_metrics
from ftjax.runs.prepare import Prepared
from ftjax.runs.run_spec import run_spec
from ftjax.training.feature_cache.compute import Passed
from ftjax.training.feature_cache.sources import Sources
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.sweeps.vmapped_fit import Cell, fit_many, obstacle


def run_together(
    prepared: Prepared,
    rates: Sequence[float],
    settings: AblationSettings,
) -> list[dict[str, object]]:
    """The fields of the rows that the runs would have one by one, a rate each.

    A run that diverges leaves the others alone. Times and FLOPs are shares of the program's;
    `vectorised` says how many runs it held.
    """
    config = prepared.config
    began = time.perf_counter()
    tests = further_tests(prepared, settings.also_evaluate)
    cells = fit_many(run_spec(prepared), {config.seed: prepared.variables}, rates)
    share = (time.perf_counter() - began) / len(cells)
    rows = []
    for cell in cells:
        began = time.perf_counter()
        fields = fields_of(prepared, cell, tests, settings)
        seconds = share + time.perf_counter() - began
        rows.append({**fields, 'wall_seconds': seconds, 'vectorised': len(cells)})
    return rows


def fields_of(
    prepared: Prepared,
    cell: Cell,
    tests: Sequence[Any],
    settings: AblationSettings,
) -> dict[str, object]:
    """The fields of one cell, evaluated as a run of its own is."""
    if cell.bad_step is not None:
        reason = f'loss or gradient is no number at step {cell.bad_step}'
        return {'status': 'diverged', 'reason': reason}
    plan, loaded = prepared.plan, prepared.variables
    leaves = flatten(loaded['params'])
    final = {**loaded, 'params': combine({**leaves, **cell.trainable})}
    try:
        metrics = split_metrics(prepared, final)
        shifts = {test.name: test.metrics(final, metrics.get('threshold')) for test in tests}
        validation = validated(prepared, final, cell.validation, settings.metric)
        unfamiliar = unfamiliar_fields(prepared, final, tests, settings.unfamiliar_on)
    except NonFinitePredictions as error:
        return {'status': 'diverged', 'reason': str(error)}
    checked = verify(loaded, final, plan.trained, plan.moving_stats, plan.entries)
    return finished_fields(
        validation,
        metrics,
        shifts,
        params_total=plan.at(0).size(),
        params_trainable=plan.size_trained,
        optimizer_bytes=cell.optimizer_bytes,
        step_flops=cell.step_flops,
        steps=prepared.run_length.steps,
        step_seconds_median=cell.step_seconds,
        frozen_unchanged=checked.frozen_unchanged,
        best_step=cell.best_step,
        data_fingerprint=prepared.data.fingerprint,
        test_fingerprint=prepared.data.test.fingerprint,
        **movement_fields(prepared, final, tests, settings.movement_on),
        **unfamiliar,
    )


def why_alone(
    prepared: Prepared, phase_state: PhaseState, sources: Sources, passed: Passed | None, line: str
) -> str:
    """Why the runs of an arm cannot share a program; empty if they can.

    Args:
      phase state, sources: of one such run, entered at its first step.
      passed: what flows into its cut; None if that cannot be stored, for the reason in `line`.
    """
    config = prepared.config
    reason = obstacle(phase_state.spec)
    if reason is not None:
        return reason
    if config.data.augment != 'none':
        return f'data.augment {config.data.augment!r} draws anew for each run'
    if config.train.adapt:
        return 'train.adapt goes on after each run'
    if config.train.skip_bad:
        return 'train.skip_bad counts the bad steps of each run'
    if config.train.cache == 'off' or passed is None:
        return line
    if jax.device_count() > 1:
        return f'batches are shared out over {jax.device_count()} devices'
    size = sources.uses(phase_state).examples * passed.bytes
    if config.train.cache != 'on' and size > sources.budget:
        return "features take more memory than train.cache_bytes; train.cache='on' uses files"
    return ''
