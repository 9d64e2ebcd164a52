"""What the runs of an arm will take, before any is started: seconds, disk, company."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from ftjax.ablation.cells.vmapped_cells import why_alone
from ftjax.evaluation.predict import predict
from ftjax.runs.prepare import Prepared
from ftjax.runs.run_spec import run_spec
from ftjax.training.feature_cache.sources import Sources
from ftjax.training.step.phase_state import PhaseState

BACKWARD = 2.0
"""Forward passes that the backward pass through a stage takes."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """Of one run of an arm."""

    seconds: float
    """Of its steps and evaluations, compilation apart; a rough guess."""
    stored: int
    """Bytes of features that it keeps in files; runs of the same data share them."""
    alone: str
    """Why several such runs cannot share a program; empty if they can."""


def survey(prepared: Prepared, forward: float) -> Survey:
    """Looks at one run: its plan, and what is decided about its cache; nothing is compiled.

    The time of a step follows from that of a forward pass, each stage counted alike: once up to
    the cut, unless features are stored, and 1 + BACKWARD times after it.

    Args:
      prepared: the run.
      forward: seconds of the forward pass of one example; see `forward_seconds`.

    Raises:
      UserError: a setting that the run itself would refuse.
    """
    spec = run_spec(prepared)
    phase_state, sources = PhaseState(spec), Sources(spec)
    phase_state.enter(0)
    decision, passed = sources.decided(phase_state)
    stages = list(spec.network.stages)
    below = stages.index(phase_state.phase.cut) / len(stages)
    validations = max(1, spec.steps // spec.validate_every)
    examples = spec.steps * spec.batch_size, len(spec.splits.val) * validations
    if decision.store and passed is not None:
        uses = sources.uses(phase_state)
        plain = uses.examples * below + examples[1] * (1 - below)
        stored = uses.examples * passed.bytes if decision.files else 0
    else:
        plain, stored = examples[0] * below + examples[1], 0
    trained = examples[0] * (1 + BACKWARD) * (1 - below)
    passes = plain + trained + len(spec.splits.test)
    return Survey(
        seconds=passes * forward,
        stored=stored,
        alone=why_alone(prepared, phase_state, sources, passed, decision.line),
    )


def forward_seconds(prepared: Prepared) -> float:
    """Seconds of the forward pass of one example, measured on a batch of validation data."""
    spec = run_spec(prepared)
    batches = spec.validation
    batch = next(iter(batches), None)
    if batch is None:
        return 0.0
    times = []
    for _ in range(3):  # the first compiles
        began = time.perf_counter()
        for _ in predict(prepared.network, prepared.variables, [batch], prepared.preprocessing):
            times.append(time.perf_counter() - began)
    return float(np.min(times)) / len(batch['labels'])
