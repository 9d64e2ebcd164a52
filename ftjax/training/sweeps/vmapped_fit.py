"""Many runs in one program: rates and seeds of one plan, trained side by side from its cut.

The step is the one that `fit` compiles, mapped over runs. Runs of one seed see the same
batches, so that their matrix products are one; each has its own weights, moments and noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.errors import UserError
from ftjax.optim.optimizer import state_bytes
from ftjax.optim.schedule import leaf_rates
from ftjax.pytrees import Variables
from ftjax.tasks.measuring import Measuring
from ftjax.tasks.task import Task
from ftjax.training.feature_cache.sources import Sources
from ftjax.training.loop.validation import BestSoFar, check_validation
from ftjax.training.step.multi_step import longest_chunk
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.sweeps.vmapped_runs import Runs

_NAMES = {'__module__', '__doc__', '__annotations__', '__qualname__', 'name', 'metrics'}
"""What a class of a task may say anew without measuring otherwise."""
MOST_STEPS = 64
"""Steps of one call of the compiled program."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of many."""

    rate: float
    seed: int
    losses: np.ndarray
    """Of every training step, (steps,) float32."""
    history: list[dict[str, float]]
    """A row a validation: step, val_loss, val_accuracy, val_score."""
    best_step: int
    validation: dict[str, float]
    trainable: dict[str, np.ndarray]
    """The trained leaves by path, of the best validation or the last, as `settings.keep` says."""

    bad_step: int | None = None
    """The first step whose loss or gradient was no number, from 1; None if all were."""
    optimizer_bytes: int = 0
    step_seconds: float | None = None
    """The share of one step of this run in the median call."""
    step_flops: float | None = None
    """The share of one step of this run in the program's, as the compiler counts them."""

    @property
    def status(self) -> str:
        """`ok`, or `diverged` if a loss or gradient was no number."""
        return 'ok' if self.bad_step is None else 'diverged'


def fit_many(
    spec: RunSpec, variables: Mapping[int, Variables], rates: Sequence[float]
) -> list[Cell]:
    """What `fit` gives for every rate and seed, up to rounding: seed by seed, rate by rate.

    Args:
      spec: of one of the runs; its seed, variables and learning rate are not used.
      variables: by seed; they may differ in leaves that train, a new head for instance.
      rates: peak learning rates.

    Raises:
      UserError: a plan, task or setting that cannot run this way, with the reason.
    """
    plan, data = spec.plan, spec.splits
    check_validation(spec.settings, plan, data.val)
    reason = obstacle(spec)
    if reason is not None:
        raise UserError(f'runs cannot share a program: {reason}')
    settings = dataclasses.replace(spec.settings, cache='on')
    seeds = tuple(variables)
    phase_states, sources = [], []
    for seed in seeds:
        own = dataclasses.replace(
            spec, seed=seed, variables=variables[seed], settings=settings, augmentation='none'
        )
        phase_state = PhaseState(own)
        phase_state.enter(0)
        if phase_states:
            check_frozen(phase_state, phase_states[0])
        phase_states.append(phase_state)
        sources.append(Sources(own).of(phase_state, 0))
    schedule, total, every = spec.schedule, spec.steps, spec.validate_every
    chunk = longest_chunk(every, MOST_STEPS)
    runs = Runs(phase_states, sources, rates)
    shape = len(seeds), len(rates)
    best = np.array([[BestSoFar() for _ in rates] for _ in seeds], object)
    history: list[list[list[dict]]] = [[[] for _ in rates] for _ in seeds]
    found: list[dict[str, np.ndarray]] = []
    kept, done = runs.trainable(), 0
    factors = [leaf_rates(plan, schedule, 1.0, step, total) for step in range(total)]
    while done < total:
        until = min(total, (done // every + 1) * every)
        while done < until:
            count = chunk if until - done >= chunk else 1
            found.append(runs.advance(count, np.stack(factors[done : done + count])))
            done += count
        better = np.zeros(shape, bool)
        for where, values in runs.scores().items():
            better[where] = best[where].update(done, values)
            row = {f'val_{name}': value for name, value in values.items()}
            history[where[0]][where[1]].append({'step': done, **row})
        if settings.keep == 'last':
            better[:] = True
        kept = jax.tree.map(
            lambda old, new, b=better: jnp.where(
                b.reshape(*shape, *[1] * (new.ndim - 2)), new, old
            ),
            kept,
            runs.trainable(),
        )
    trained = jax.device_get(kept)
    curve, norms = (np.concatenate([part[name] for part in found]) for name in found[0])
    size = state_bytes(phase_states[0].state.opt_state)
    return [
        Cell(
            rate,
            seed,
            curve[:, s, r],
            history[s][r],
            best[s, r].step,
            best[s, r].values,
            {path: leaf[s, r] for path, leaf in trained.items()},
            first_bad(curve[:, s, r], norms[:, s, r]),
            size,
            float(np.median(runs.seconds)),
            runs.flops,
        )
        for s, seed in enumerate(seeds)
        for r, rate in enumerate(rates)
    ]


def first_bad(losses: np.ndarray, norms: np.ndarray) -> int | None:
    """The first step, from 1, with a loss or norm that is no number; None without.

    >>> first_bad(np.array([0.5, 0.4]), np.array([1.0, np.inf]))
    2
    """
    bad = np.flatnonzero(~(np.isfinite(losses) & np.isfinite(norms)))
    return int(bad[0]) + 1 if len(bad) else None


def obstacle(spec: RunSpec) -> str | None:
    """Why runs of a plan cannot share a program, if they cannot."""
    network, plan = spec.network, spec.plan
    phase = plan.at(0)
    after = network.stages[network.stages.index(phase.cut) :]
    if len(plan.boundaries) > 1 or plan.choose_at:
        return f'{plan.strategy!r} changes what trains on the way'
    if plan.of_kind('regulariser') or plan.of_kind('weights') or plan.recompute:
        return f'{plan.strategy!r} needs the weights of the start, or statistics of each run'
    task, settings = spec.task, spec.settings
    if not counts_correct(task) or settings.metric not in ('', task.default_metric):
        return f'a validation of {task.name} takes more than a count of correct answers'
    if settings.patience is not None:
        return 'train.patience stops each run at a step of its own'
    if phase.moving_stats:
        return f'statistics of {phase.moving_stats[0]!r} move'
    convolved = [
        p for p, leaf in phase.leaves.items() if leaf.stage in after and len(leaf.shape) == 4
    ]
    if convolved:  # mapped over weights, it becomes a grouped convolution, slower than a loop
        return f'{convolved[0]} above the cut is a convolution'
    return None


def counts_correct(task: Task) -> bool:
    """Whether a task's validation is its mean of `correct`, which is its accuracy.

    A subclass that measures anything otherwise has to say `counts_correct` itself.
    """
    order = type(task).__mro__
    says = next(n for n, each in enumerate(order) if 'counts_correct' in vars(each))
    anew = {name for each in order[:says] for name in vars(each)}
    counted = task.counts_correct and task.default_metric == 'accuracy'
    return counted and not anew & {*vars(Measuring), 'weights', 'correct'} - _NAMES


def check_frozen(phase_state: PhaseState, first: PhaseState) -> None:
    """UserError unless two runs have the same frozen leaves, bit for bit."""
    for kind in ('params', 'stats'):
        leaves, others = getattr(phase_state.frozen, kind), getattr(first.frozen, kind)
        for path, leaf in leaves.items():
            if not np.array_equal(leaf, others[path]):
                raise UserError(
                    f'runs cannot share a program: frozen leaf {path} differs from seed '
                    f'{first.seed} to seed {phase_state.seed}'
                )
