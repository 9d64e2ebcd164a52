"""The one training loop: scripts, ablations and the Python API all call `fit`."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Mapping

from ftjax.distributed.preemption import stop_if_requested, stops_on_signals, while_wanted
from ftjax.distributed.process_group import first, same_everywhere
from ftjax.evaluation.own_answers import answers
from ftjax.io.json.json_values import JsonObject
from ftjax.io.process.progress import Progress
from ftjax.io.process.provenance import device_peak
from ftjax.optim.schedule import plan_factor
from ftjax.tasks.training_loss import PLAIN
from ftjax.training.checkpoints.run_identity import PlanChange, RunIdentity
from ftjax.training.feature_cache.sources import Sources
from ftjax.training.loop.batch_norm_recalibration import recomputed
from ftjax.training.loop.fit_result import FitResult, result_of
from ftjax.training.loop.non_finite import Diverged
from ftjax.training.loop.profiling import Profile, warn_of_waiting
from ftjax.training.loop.run_state import RunState
from ftjax.training.loop.step_runner import StepRunner
from ftjax.training.loop.validation import check_validation
from ftjax.training.step.phase_state import PhaseState
from ftjax.training.step.run_spec import RunSpec

__all__ = ['Diverged', 'FitResult', 'fit']

_log = logging.getLogger(__name__)
NO_CHANGE = PlanChange()


def fit(
    spec: RunSpec,
    workdir: str | pathlib.Path | None = None,
    *,
    progress: bool = True,
    plan_change: PlanChange = NO_CHANGE,
    profile: int = 0,
    identity: RunIdentity | None = None,
) -> FitResult:
    """Trains what the plan trains, validates, and checks that nothing else moved.

    Args:
      spec: the run.
      workdir: where metrics.jsonl and checkpoints go, and where an interrupted run is found
        again; None to keep everything in memory.
      plan_change: what differs from the interrupted run's config, and whether that may be.
      profile: steps to trace into the folder `profile` of the workdir; 0 for none.
      identity: of which run and of which inputs it is; checkpoints are held against it.

    Raises:
      Diverged: the loss or a gradient is NaN or infinite, more than settings.skip_bad times.
      Interrupted: a signal asked the run to stop; its state is saved.
      UserError: an empty split, weights chosen by validation without examples for it, a batch
        that cannot be shared out, or a checkpoint of another plan, run or other inputs.
    """
    plan, settings, data = spec.plan, spec.settings, spec.splits
    check_validation(settings, plan, data.val)
    progress = progress and first()
    spec.sharding.check(plan.at(0).leaves, spec.batch_size, spec.optimizer.accumulate)
    total, every, loaded = spec.steps, spec.validate_every, spec.variables
    if plan.recompute:
        spec = with_statistics_of(spec)
        loaded = spec.variables
    phase_state = PhaseState(spec)
    run_state = RunState(phase_state, settings, loaded)
    sources = Sources(spec, tell=progress)
    sources.lines = run_state.cache_lines

    def trial(short: RunSpec) -> float:
        """The last validation score of a short run of its own, for strategies that try."""
        return fit(short, progress=False).history[-1]['val_score']

    folder = None if workdir is None else pathlib.Path(workdir)
    with contextlib.ExitStack() as stack:
        if folder is not None:
            run_state.open(stack, folder, plan_change, identity)
        bar = stack.enter_context(
            Progress(total, plan.strategy, unit='step', start=run_state.done, enabled=progress)
        )
        writes = folder if first() else None
        tracer = Profile(writes / 'profile' if writes else None, profile)
        stack.callback(tracer.stop)
        stack.enter_context(stops_on_signals())
        stack.push(lambda kind, error, trace: run_state.save_if_stopped(error, total))
        step_runner = StepRunner(run_state, folder=writes, tracer=tracer)
        while (run_state.done < total and not run_state.best.exhausted) or run_state.due:
            done = run_state.done
            # Of a run that was stopped in its validation: that comes before the next phase.
            due = run_state.due and (done == total or done % every == 0)
            stop_if_requested()
            if phase_state.chooses_at(done) and not due:
                from ftjax.training.loop.data_probe import DataProbe  # few plans choose

                with bar.excluded('choosing'):
                    phase_state.enter(done)
                    phase_state.choose(DataProbe(phase_state, done, trial), done)
                    same_everywhere('choice of what trains', phase_state.plan.choices[-1].to_json())
            if not due:
                phase_state.enter(done)
            run_state.timings.enter(phase_state.phase)
            ends = [total, (done // every + 1) * every]
            starts = [start for start in phase_state.plan.boundaries if start > done]
            until = done if due else min(ends + starts)
            source = sources.of(phase_state, done, bar)
            while run_state.done < until:
                loss = step_runner.steps(source, until)
                bar.update(run_state.done, {'loss': loss})
                stop_if_requested()
            if run_state.done < total and run_state.done % every:
                continue  # a phase ends here, no validation is due
            with bar.excluded('validating', tell=False), run_state.timings.stage('evaluation'):
                weights = phase_state.as_trained()
                outputs = answers(
                    *(spec.network, weights, source.validation, spec.preprocessing),
                    *(source.start, spec.sharding),
                    watched=while_wanted,
                    compares=spec.task.compares(PLAIN),
                )
                values = spec.task.validate(
                    outputs, settings.metric, class_names=spec.splits.class_names
                )
            last = min(run_state.done, total) - 1  # a run may be made shorter than it is
            factor = plan_factor(phase_state.plan, spec.schedule, last, total)
            row = {
                'epoch': run_state.done / spec.steps_per_epoch,
                **run_state.accumulator.finish(),
                'rate': float(spec.optimizer.learning_rate * factor),
                **{f'val_{name}': value for name, value in values.items()},
                **device_peak(),
            }
            if not run_state.history:
                warn_of_still(phase_state.still(), run_state.done)
            run_state.record(row, values, phase_state.current())
            best = run_state.best.step == run_state.done and run_state.best.defined
            bar.row(shown(run_state.history[-1]), 'best so far' if best else '')
        final = run_state.final(PhaseState(spec))
    warn_of_waiting(run_state.timings.stages)
    if settings.keep == 'best' and not run_state.best.defined:
        _log.warning(
            "no validation of the run gave a number, so that train.keep='best' has nothing to "
            'choose by: the last weights are kept'
        )
    return result_of(loaded, final, run_state)


def shown(row: Mapping[str, object]) -> JsonObject:
    """What the screen tells of a validation, under short headings."""
    names = {'epoch': 'epoch', 'step': 'step', 'train_loss': 'train loss'}
    names |= {
        key: key.replace('_', ' ') for key in row if key.startswith('val_') and key != 'val_score'
    }
    return {name: row.get(key) for key, name in {**names, 'rate': 'rate'}.items()}


def with_statistics_of(spec: RunSpec) -> RunSpec:
    """The run with the running statistics of its own training inputs."""
    stream = spec.stream_of(spec.seed).in_runs(spec.steps_per_call())
    batches = (stream.batch(n)['inputs'] for n in range(stream.steps_per_epoch))
    found = recomputed(spec.network, spec.variables, batches, spec.preprocessing)
    return dataclasses.replace(spec, variables=found)


def warn_of_still(paths: tuple[str, ...], step: int) -> None:
    """A warning for trainable leaves that are bitwise what they were."""
    if paths:
        more = f' and {len(paths) - 1} more' if len(paths) > 1 else ''
        _log.warning(
            '%s%s should train and has not moved in %d steps: no gradient reaches it, or its '
            'steps are too small for its precision',
            paths[0],
            more,
            step,
        )
