"""Strategies on whole sets of weights: several runs where one is asked for, then their average."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from ftjax.evaluation.predict import predict
from ftjax.freezing.plan.plan import Plan
from ftjax.freezing.plan.verification import verify
from ftjax.freezing.registry import runs_asked
from ftjax.leaves import flatten, unflatten
from ftjax.pytrees import Flat, Variables
from ftjax.training.loop.batch_norm_recalibration import recomputed
from ftjax.training.loop.fit import with_statistics_of
from ftjax.training.loop.fit_result import FitResult
from ftjax.training.loop.metrics_log import MEMBER
from ftjax.training.loop.validation import defined
from ftjax.training.step.run_spec import RunSpec

RATES = (1.0, 0.5, 2.0)
"""Factors of the learning rate, in turn, of the runs whose weights are averaged."""
SEEDS_APART = 1000
"""Between the seeds of such runs, so that the runs of neighbouring seeds share none."""


def fit_averaged(
    spec: RunSpec,
    run: Callable[[RunSpec, pathlib.Path | None], FitResult],
    workdir: pathlib.Path | None,
) -> tuple[FitResult, dict[str, object]]:
    """The average of runs, as the plan's strategy on whole sets of weights asks, and the evidence.

    Args:
      spec: of the run.
      run: `fit` with all but the spec and the folder.
      workdir: where each run gets a folder.
    """
    if spec.plan.recompute:
        # Once, so that all runs and their start share the statistics that are then frozen.
        estimated = dataclasses.replace(spec.plan, recompute=False)
        spec = dataclasses.replace(with_statistics_of(spec), plan=estimated)
    plan, variables = spec.plan, spec.variables
    term = plan.term('weights')
    assert term is not None
    fits = []
    for number in range(runs_asked(plan.terms)):
        inside = None if workdir is None else member_folder(workdir, plan, number)
        rate = spec.optimizer.learning_rate * RATES[number % len(RATES)]
        own = dataclasses.replace(
            spec,
            seed=spec.seed + SEEDS_APART * number,
            optimizer=dataclasses.replace(spec.optimizer, learning_rate=rate),
        )
        fits.append(run(own, inside))
    ends = [flat(fit.variables) for fit in fits]
    start = flat(variables)
    # Frozen statistics stay even in an average: only what some run moved is estimated anew.
    moving = frozenset().union(*(f.plan.moving_stats | earlier(f, 'stats') for f in fits))
    trained = frozenset().union(*(f.plan.trained | earlier(f, 'params') for f in fits))
    net = plan.net
    for path in net.new_head if net is not None else ():
        start[f'params/{path}'] = ends[0][f'params/{path}']
    whole = {id(known) for known in (*ends, start)}
    scores: dict[int, tuple[object, object, dict[str, float]]] = {}

    def settled(weights: Variables) -> tuple[Any, dict[str, float]]:
        """Variables and metrics; what is no average keeps its own statistics."""
        if id(weights) not in scores:
            made = unflatten(weights)
            if moving and id(weights) not in whole:
                made = recalibrated(spec, made, moving)
            # The weights are kept beside, so that no other dict gets their id meanwhile.
            scores[id(weights)] = weights, made, validated(spec, made)
        return scores[id(weights)][1:]

    def score(weights: Variables) -> float:
        values = settled(weights)[1]
        return values['score'] if defined(values) else -math.inf  # loses to every number

    chosen, evidence = term(ends, start, score)
    final, values = settled(chosen)
    masks = [
        {p: m for p, m in f.plan.entries.items() if p not in earlier(f, 'params')} for f in fits
    ]
    # Each run may have drawn entries of its own: the average moves where any of them did.
    entries = {
        p: np.any([m[p] for m in masks], axis=0) for p in masks[0] if all(p in m for m in masks)
    }
    result = dataclasses.replace(
        fits[0],
        variables=final,
        validation=values,
        verification=verify(variables, final, trained, moving, entries),
        compile_seconds=sum(fit.compile_seconds for fit in fits),
        wall_seconds=sum(fit.wall_seconds for fit in fits),
    )
    return result, {'strategy': str(term), **evidence}


def earlier(fit: FitResult, what: str) -> frozenset[str]:
    """Leaves or stages that trained under earlier plans of a run that went on under another."""
    return fit.former.get(what, frozenset())


def member_folder(workdir: pathlib.Path, plan: Plan, number: int = 0) -> pathlib.Path:
    """Where a run of a plan has its metrics and checkpoints: of several, each in its own."""
    return workdir / MEMBER.format(number) if runs_asked(plan.terms) > 1 else workdir


def recalibrated(spec: RunSpec, variables: Variables, stages: Collection[str]) -> dict[str, object]:
    """Variables with the running statistics of some stages estimated anew."""
    stream = spec.stream_of(spec.seed, augmented=False)
    batches = (stream.batch(n)['inputs'] for n in range(stream.steps_per_epoch))
    return recomputed(spec.network, variables, batches, spec.preprocessing, stages)


def validated(spec: RunSpec, variables: Variables) -> dict[str, float]:
    """Validation metrics of some variables, with 'score'."""
    outputs = predict(spec.network, variables, spec.validation, spec.preprocessing)
    return spec.task.validate(outputs, spec.settings.metric, class_names=spec.splits.class_names)


def flat(variables: Variables) -> Flat:
    """{'params/block_00/..': leaf} of all collections."""
    return flatten(variables)
