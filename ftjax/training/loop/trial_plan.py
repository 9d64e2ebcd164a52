"""Short runs that try what would train: many sets of leaves, few programs."""

from __future__ import annotations

import dataclasses

from ftjax.data import Splits
from ftjax.freezing.plan.phase import Phase
from ftjax.freezing.plan.plan import Plan
from ftjax.models.stages import Network
from ftjax.training.settings import TrainSettings
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec


def trial_plan(phase_state: PhaseState, leaves: frozenset[str]) -> Plan:
    """A plan of one phase that trains some of the leaves that a phase state's plan may train.

    Where stages run alike whether or not they train, all such plans of a phase state have one
    program. Compilers that run convolutions slowly inside a loop do so inside a branch: there,
    plans share one only if their lowest stage is the same.
    """
    plan, base = phase_state.plan, phase_state.plan.base
    assert base is not None
    weights = {path: float(path in leaves) for path in base.trainable}
    alike = runs_alike(phase_state.network, base)
    branches = TrainSettings().calls(phase_state.network, phase_state.variables['params']) > 1
    phase = plan.phase_of(0, weights, shared=alike and not branches, by_rates=alike and branches)
    return Plan(f'{plan.strategy}, a trial', (phase,), new_leaves=plan.new_leaves, base=phase)


def trial_spec(spec: RunSpec, data: Splits, epochs: float) -> RunSpec:
    """A short run on other splits, validated once, at its end."""
    settings = dataclasses.replace(
        spec.settings,
        epochs=epochs,
        steps=None,
        eval_every=epochs,
        keep='last',
        patience=None,
        cache='off',
        cache_views=1,
    )
    size = min(spec.batch_size, len(data.train))
    return dataclasses.replace(
        spec,
        data=data,
        settings=settings,
        batch_size=spec.sharding.fitting(size, spec.optimizer.accumulate),
        eval_batch_size=min(spec.eval_batch_size, rounded_up(len(data.val))),
    )


def rounded_up(examples: int, unit: int = 8) -> int:
    """A number of examples that is a multiple of `unit`: folds of like size share a program."""
    return -(-examples // unit) * unit


def runs_alike(network: Network, base: Phase) -> bool:
    """Whether the stages of a phase would run as they do if others of its leaves trained.

    Noise and statistics of the batch are for stages that train.
    """
    return all(
        (network.noiseless or m.deterministic) and not m.batch_stats for m in base.modes.values()
    )
