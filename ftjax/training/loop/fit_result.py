"""What a training run gives back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ftjax.freezing.plan.plan import Plan
from ftjax.freezing.plan.verification import Verification, verify
from ftjax.optim.optimizer import state_bytes
from ftjax.pytrees import Variables
from ftjax.training.loop.run_state import RunState


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What `fit` gives back."""

    variables: Variables
    plan: Plan
    """As it was at the end, with the choices that were made on the way."""
    steps: int
    best_step: int
    validation: dict[str, float]
    history: list[dict[str, float]]
    verification: Verification
    optimizer_bytes: int
    compile_seconds: float
    step_seconds_median: float | None
    wall_seconds: float
    step_flops: float | None
    """As compiled, of a mean step: of all parts of its batch, and of all devices."""
    phases: list[dict[str, object]]
    """Start, steps, compile seconds, seconds, FLOPs and bytes a step of each phase."""
    step_bytes: int | None = None
    """Device memory while a step runs, as compiled: of the phase that takes most."""
    stage_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    """Where the wall time went: data, step, evaluation, checkpoint, compile."""
    steps_skipped: int = 0
    """Steps whose loss or gradient was no number, under `train.skip_bad`."""
    cache: tuple[str, ...] = ()
    """What was decided about storing features, a line a phase."""
    former: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    """What trained under earlier plans of the run: leaves (`params`), stages (`stats`)."""


def result_of(loaded: Variables, final: Variables, run_state: RunState) -> FitResult:
    """The result of a run that stands at its end: variables as loaded, and as it leaves them."""
    phase_state, timings = run_state.phase_state, run_state.timings
    plan, former = phase_state.plan, phase_state.former
    trained, moving = plan.trained | former['params'], plan.moving_stats | former['stats']
    # What an earlier plan trained has moved outside the entries of this one.
    entries = {p: mask for p, mask in plan.entries.items() if p not in former['params']}
    found = verify(loaded, final, trained, moving, entries)
    return FitResult(
        variables=final,
        plan=plan,
        steps=run_state.done,
        best_step=run_state.best.step,
        validation=run_state.best.values,
        history=run_state.history,
        verification=dataclasses.replace(
            found, moved_frozen=(*found.moved_frozen, *phase_state.changed_copies())
        ),
        optimizer_bytes=state_bytes(phase_state.state.opt_state),
        compile_seconds=timings.compile_seconds,
        step_seconds_median=timings.step_seconds_median,
        wall_seconds=timings.wall_seconds,
        step_flops=timings.flops,
        phases=timings.to_json(),
        step_bytes=timings.bytes,
        stage_seconds=dict(timings.stages),
        steps_skipped=run_state.accumulator.skipped,
        cache=tuple(run_state.cache_lines),
        former={name: frozenset(found) for name, found in former.items()},
    )
