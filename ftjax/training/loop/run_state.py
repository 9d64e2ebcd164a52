"""Where a run stands: steps done, history, best weights; what a checkpoint holds of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.distributed import process_group
from ftjax.distributed.device_put import on_host
from ftjax.distributed.interrupted import Interrupted
from ftjax.io.json.json_values import JsonObject
from ftjax.pytrees import Variables
from ftjax.training.checkpoints.checkpoints import Checkpoints
from ftjax.training.checkpoints.run_identity import PlanChange, RunIdentity
from ftjax.training.checkpoints.training_state import (
    moved_of,
    overlaid,
    restore,
    to_saved,
    touched_leaves,
    unfit,
)
from ftjax.training.loop.metric_accumulator import MetricAccumulator
from ftjax.training.loop.metrics_log import METRICS, MetricsLog
from ftjax.training.loop.timings import Timings
from ftjax.training.loop.validation import BestSoFar, deciding_metric
from ftjax.training.settings import TrainSettings
from ftjax.training.step.phase_state import PhaseState


class RunState:
    """All that a run has behind it, in memory and, with a workdir, in its files."""

    def __init__(
        self, phase_state: PhaseState, settings: TrainSettings, loaded: Mapping[str, object]
    ):
        """A run at step 0: its phase state, settings, and variables as they were loaded."""
        self.phase_state, self.settings, self.loaded = phase_state, settings, loaded
        self.done = 0
        self.history: list[dict[str, float]] = []
        self.best = BestSoFar(settings.patience)
        self.metric = deciding_metric(settings, phase_state.spec.task.name)
        self.best_variables: Variables | None = None
        self.accumulator, self.timings = MetricAccumulator(settings.skip_bad), Timings()
        self.cache_lines: list[str] = []
        self.identity: RunIdentity | None = None
        self.checkpoints: Checkpoints | None = None
        """None where the run has no files."""
        self.log: MetricsLog | None = None

    @property
    def due(self) -> bool:
        """Whether steps have been made that no row of the history tells of."""
        return self.accumulator.due

    def open(
        self,
        stack: contextlib.ExitStack,
        folder: pathlib.Path,
        change: PlanChange,
        identity: RunIdentity | None = None,
    ) -> None:
        """Opens the run's files, and goes on from its last checkpoint if there is one.

        Raises:
          UserError: the checkpoint is of another plan, and `change` does not allow that; or of
            another run or other inputs than `identity` says.
        """
        self.identity, shared = identity, self.phase_state.sharding.fsdp > 1
        self.checkpoints = stack.enter_context(Checkpoints(folder / 'checkpoints', shared))
        saved = self.restored()
        if saved is not None:
            items, step = saved['items'], saved['step']
            if identity is not None:
                keys = identity.judge(saved['identity'], step, folder)
                keys = tuple(dict.fromkeys((*change.keys, *keys)))
                change = dataclasses.replace(change, keys=keys)
            change.judge(restore(self.phase_state, items, step), step, folder)
            self._take_up(items, step)
        written = int(self.history[-1]['step']) if self.history else 0
        # An attempt that saved nothing is interrupted too: what it logged is to go.
        going_on = saved is not None or (folder / METRICS).exists()
        if process_group.first():
            self.log = stack.enter_context(
                MetricsLog(
                    folder,
                    resume_step=written if going_on else None,
                    rows=self.history,
                    loggers=self.settings.all_loggers,
                )
            )
        if self.phase_state.entered and self.best.step == self.done:
            self.best_variables = on_host(self.phase_state.current())

    def restored(self, step: int | None = None) -> dict[str, Any] | None:
        """Step, items and identity of the last checkpoint, or of that of `step`; None without one.

        The first process reads it.
        """
        if self.checkpoints is None:
            return None
        checkpoints, steps = self.checkpoints, self.checkpoints.steps

        def read() -> dict[str, Any] | None:
            if not steps:
                return None
            saved = checkpoints.restore(step if step in steps else None)
            return {'step': saved.step, 'items': saved.items, 'identity': saved.identity}

        return process_group.from_first(read)

    def _take_up(self, items: Mapping[str, Any], step: int) -> None:
        told = items['progress']
        # As text, because a checkpoint does not keep the order of keys.
        self.history, self.done = [json.loads(row) for row in told['history']], step
        best = items.get('best')
        # The best weights of a network with other leaves are none of this one: it begins anew.
        if not unfit(self.loaded, *moved_of(items), *([best] if best else [])):
            self.best = BestSoFar.from_json(told['best'], self.settings.patience, self.metric)
            if best:
                self.best_variables = overlaid(self.loaded, best)
        if 'running' in told:
            self.accumulator = MetricAccumulator.from_saved(told['running'], self.settings.skip_bad)
            self.timings = Timings.from_saved(told['timings'])
            self.cache_lines[:] = told['cache']

    def record(self, row: JsonObject, values: dict[str, float], current: Variables) -> None:
        """Takes a validation in: the row, its metrics, and the variables that were validated."""
        self.history.append({'step': self.done, **row})
        if self.best.update(self.done, values):
            self.best_variables = on_host(current)
        if self.log is not None:
            self.log.write(self.done, row)
        self.save()

    def save(self) -> None:
        """Writes a checkpoint, if the run has files."""
        if self.checkpoints is None or not self.phase_state.entered:
            return
        told = {
            'history': [json.dumps(row) for row in self.history],
            'best': self.best.to_json(self.metric),
            'running': self.accumulator.to_saved(),
            'timings': self.timings.to_saved(),
            'cache': self.cache_lines,
        }
        gather = not self.checkpoints.together
        items = {**to_saved(self.phase_state, gather), 'progress': told}
        ends_with_best = self.settings.keep == 'best'
        if ends_with_best and self.best_variables is not None and self.best.step != self.done:
            # Every checkpoint ends the run as well as any other, should others be damaged.
            items['best'] = touched_leaves(self.phase_state, self.best_variables)
        with self.timings.stage('checkpoint'):
            identity = None if self.identity is None else self.identity.to_saved()
            self.checkpoints.save(self.done, items, self.best.step, identity)

    def save_if_stopped(self, error: BaseException | None, total: int) -> None:
        """Saves what a signal interrupts, and tells where the run of `total` steps stands."""
        if not isinstance(error, Interrupted):
            return
        kept = 'nothing is saved'
        if self.checkpoints is not None:
            if not process_group.largest(self.done in self.checkpoints.steps):
                self.save()
            self.checkpoints.wait()
            kept = 'saved: the same command goes on'
        process_group.wait('saved')  # who ended now would take the first one along
        error.say(f'at step {self.done} of {total}; {kept}')

    def final(self, other: PhaseState) -> Variables:
        """The final variables of the run; `other` is a phase state at its start, to restore in."""
        if self.settings.keep == 'last':
            return on_host(self.phase_state.current())
        # A checkpoint holds the best weights too, but for those of early versions.
        saved = self.restored(self.best.step) if self.best_variables is None else None
        if saved is not None:
            if self.identity is not None and self.checkpoints is not None:
                self.identity.check(saved['identity'], saved['step'], self.checkpoints.folder)
            restore(other, saved['items'], saved['step'])
            return on_host(other.current())
        return self.best_variables or on_host(self.phase_state.current())
