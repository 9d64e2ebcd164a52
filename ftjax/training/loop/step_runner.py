"""One call of the compiled program: batches and rates in, the losses of its steps out."""

from __future__ import annotations

import logging
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.streams.train_stream import STEP_TAKES
from ftjax.data.text.stacked_batches import stacked
from ftjax.optim.schedule import leaf_rates
from ftjax.pytrees import Batch
from ftjax.training.feature_cache.sources import Source
from ftjax.training.loop.non_finite import described, diverged, shown
from ftjax.training.loop.profiling import Profile
from ftjax.training.loop.run_state import RunState
from ftjax.training.step.multi_step import MultiStep
from ftjax.xla.program_cache import program

_log = logging.getLogger(__name__)


class StepRunner:
    """Sends the steps of a run to the device, several in a call."""

    def __init__(
        self,
        run_state: RunState,
        *,
        folder: pathlib.Path | None = None,
        tracer: Profile,
    ):
        self.run_state, self.spec = run_state, run_state.phase_state.spec
        self.folder, self.tracer = folder, tracer
        self._source: Source | None = None
        self._run: MultiStep

    def steps(self, source: Source, until: int) -> float:
        """Runs one call, of at most up to step `until`; the loss of its last step.

        Raises:
          Diverged: a loss or gradient is no number, and no step may be skipped any more.
        """
        run_state, phase_state = self.run_state, self.run_state.phase_state
        sharding = phase_state.sharding
        chunk = self.spec.steps_per_call(source.start)
        count = min(chunk, until - run_state.done)
        if count < chunk:
            count = 1  # a short end runs step by step: no third program
        with run_state.timings.stage('data'):
            group = [next(source.batches) for _ in range(count)]
        rates = self.rates(count)
        batch = stacked([model_inputs(one) for one in group], self.spec.preprocessing)
        size = max(len(one['index']) for one in group)  # of packed texts rows may differ
        batch = sharding.batch(batch, axis=1, size=size)
        left = np.int32(run_state.accumulator.skips_left)
        arguments = (phase_state.state, phase_state.frozen, batch, *sharding.copied((rates, left)))
        with run_state.timings.stage('compile'):
            if source is not self._source:  # once a phase: the optimizer is built for it
                self._source, self._run = source, MultiStep(phase_state.step(source.start))
            places = None
            if sharding.devices > 1:  # the state stays where it lies, and its buffers are reused
                places = sharding.of_state(phase_state.state), sharding.whole
            known = program(self._run, *arguments, donate=(0,), places=places)
        self.tracer.before_call()
        started = time.perf_counter()
        phase_state.state, metrics = known.call(*arguments)
        # Each call is waited for: starting the next one meanwhile would save nothing
        # worth having on a CPU, and the time of a step is then the step's own.
        found = {name: np.asarray(values).tolist() for name, values in metrics.items()}
        self.tracer.after_call(count)
        seconds = time.perf_counter() - started
        run_state.timings.add(known, seconds, count, self.spec.counted_once)
        self.judge(found, group, rates, source.start)
        run_state.done += count
        return found['loss'][-1]

    def rates(self, count: int) -> np.ndarray:
        """(count, groups): the learning rates of the next steps."""
        plan, spec = self.run_state.phase_state.plan, self.spec
        schedule, rate, total = spec.schedule, spec.optimizer.learning_rate, spec.steps
        steps = range(self.run_state.done, self.run_state.done + count)
        return np.stack([leaf_rates(plan, schedule, rate, at, total) for at in steps])

    def judge(
        self,
        found: Mapping[str, Sequence[float]],
        group: Sequence[Mapping[str, Any]],
        rates: np.ndarray,
        start: str | None,
    ) -> None:
        """Takes the losses and norms of a call in: warns of skipped steps, ends at a fatal one."""
        run_state = self.run_state
        skipped, fatal = run_state.accumulator.add(found['loss'], found['grad_norm'])
        for at in (*skipped, *([] if fatal is None else [fatal])):
            values = {name: numbers[at] for name, numbers in found.items()}
            ids = [self.spec.splits.train.ids[i] for i in group[at]['index']]
            step = run_state.done + at + 1
            if at == fatal:
                sharding, batch = run_state.phase_state.sharding, model_inputs(group[at])
                raise diverged(
                    run_state.phase_state,
                    sharding.batch(batch, size=len(group[at]['index'])),
                    sharding.copied(rates[at]),
                    values,
                    step,
                    ids,
                    self.folder,
                    saved=run_state.checkpoints.steps if run_state.checkpoints is not None else (),
                    start=start,
                )
            _log.warning('step %d is skipped: %s; examples %s', step, described(values), shown(ids))


def model_inputs(batch: Batch) -> dict[str, object]:
    """What of a batch goes to the device."""
    return {key: batch[key] for key in STEP_TAKES if key in batch}
