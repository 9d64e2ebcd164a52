"""The one training loop: scripts, ablations and the Python API all call `fit`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.data import Splits, TrainStream, eval_batches
from ftjax.distributed.preemption import stop_if_requested, stops_on_signals, while_wanted
from ftjax.distributed.process_group import first, same_everywhere, several
from ftjax.distributed.sharding import Sharding
from ftjax.evaluation.predict import predict
from ftjax.freezing.plan.plan import Plan
from ftjax.io.progress import Progress
from ftjax.io.provenance import device_peak
from ftjax.models.stages import Network
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings, plan_factor
from ftjax.tasks import task_of
from ftjax.training.checkpoints.plan_change import PlanChange
from ftjax.training.checkpoints.run_identity import RunIdentity
from ftjax.training.feature_cache.sources import Sources
from ftjax.training.loop.batch_norm_recalibration import recomputed
from ftjax.training.loop.data_probe import DataProbe
from ftjax.training.loop.fit_result import FitResult, result_of
from ftjax.training.loop.non_finite import Diverged
from ftjax.training.loop.profiling import Profile, warn_of_waiting
from ftjax.training.loop.run_state import RunState
from ftjax.training.loop.step_runner import StepRunner
from ftjax.training.loop.validation import check_validation
from ftjax.training.settings import TrainSettings
from ftjax.training.step.multi_step import longest_chunk
from ftjax.training.step.phase_state import PhaseState, StepSettings

__all__ = ['Diverged', 'FitResult', 'fit', 'longest_chunk']

_log = logging.getLogger(__name__)
DEFAULT_SCHEDULE, DEFAULT_TRAINING = ScheduleSettings(), TrainSettings()
NO_CHANGE = PlanChange()


def fit(
    network: Network,
    variables: Mapping[str, Any],
    plan: Plan,
    data: Splits,
    *,
    optimizer: OptimizerSettings,
    schedule: ScheduleSettings = DEFAULT_SCHEDULE,
    settings: TrainSettings = DEFAULT_TRAINING,
    preprocessing: Any = None,
    batch_size: int = 32,
    eval_batch_size: int = 256,
    augmentation: str = 'none',
    image_size: tuple[int, int] | None = None,
    seed: int = 0,
    workdir: str | pathlib.Path | None = None,
    progress: bool = True,
    plan_change: PlanChange = NO_CHANGE,
    profile: int = 0,
    sharding: Sharding | None = None,
    identity: RunIdentity | None = None,
) -> FitResult:
    """Trains what the plan trains, validates, and checks that nothing else moved.

    Args:
      network, variables: what is fine-tuned, as `load_pretrained` gives them.
      plan: what trains.
      data: training and validation splits.
      workdir: where metrics.jsonl and checkpoints go, and where an interrupted run is found
        again; None to keep everything in memory.
      profile: steps to trace into the folder `profile` of the workdir; 0 for none.
      plan_change: what differs from the interrupted run's config, and whether that may be.
      sharding: where leaves and examples lie on the devices; by default leaves on all of them.
      identity: of which run and of which inputs it is; checkpoints are held against it.

    Raises:
      Diverged: the loss or a gradient is NaN or infinite, more than settings.skip_bad times.
      Interrupted: a signal asked the run to stop; its state is saved.
      UserError: an empty split, weights chosen by validation without examples for it, a batch
        that cannot be shared out, or a checkpoint of another plan, run or other inputs.
    """
    take = functools.partial(
        TrainStream,
        image_size=image_size,
        preprocessing=preprocessing,
        augmentation=augmentation,
    )
    check_validation(settings, plan, data.val)
    task = task_of(data.val.task)
    sharding, progress = sharding or Sharding(), progress and first()
    sharding.check(plan.at(0).leaves, batch_size, optimizer.accumulate)
    stream = take(data.train, batch_size, seed)
    total = settings.total(stream.steps_per_epoch)
    every = settings.every(stream.steps_per_epoch)
    # Chunks end wherever something may change, so that a phase needs one program.
    regular = math.gcd(every, *plan.boundaries)

    def chunk(start: str | None = None) -> int:
        return longest_chunk(regular, settings.calls(network, variables['params'], start))

    stream = stream.in_runs(chunk())  # texts: batches of one call have one length
    if plan.recompute:
        batches = (stream.batch(n)['inputs'] for n in range(stream.steps_per_epoch))
        variables = recomputed(network, variables, batches, preprocessing)
    step_settings = StepSettings(
        preprocessing,
        augmentation,
        data.train.task,
        settings.label_smoothing,
        settings.remat,
    )
    if several():
        stream = stream.shared(sharding.rows(batch_size))
    new_phase_state = functools.partial(
        PhaseState, network, variables, plan, optimizer, step_settings, seed, sharding
    )
    phase_state = new_phase_state()
    validation = eval_batches(data.val, eval_batch_size, image_size, preprocessing)
    run_state = RunState(phase_state, settings, variables)
    sources = Sources(
        stream,
        validation,
        settings,
        preprocessing=preprocessing,
        augmentation=augmentation,
        image_size=image_size,
        total=total,
        every=every,
        tell=progress,
    )
    sources.lines = run_state.cache_lines

    def trial(variables, plan, data, epochs) -> float:
        """The last validation score of a short run of its own, for strategies that try."""
        short = dataclasses.replace(
            settings, epochs=epochs, steps=None, eval_every=epochs, keep='last', patience=None
        )
        short = dataclasses.replace(short, cache='off', cache_views=1)
        found = fit(
            network,
            variables,
            plan,
            data,
            optimizer=optimizer,
            schedule=schedule,
            settings=short,
            preprocessing=preprocessing,
            batch_size=sharding.fitting(min(batch_size, len(data.train)), optimizer.accumulate),
            eval_batch_size=min(eval_batch_size, rounded_up(len(data.val))),
            augmentation=augmentation,
            image_size=image_size,
            seed=seed,
            progress=False,
            sharding=sharding,
        )
        return found.history[-1]['val_score']

    def parts(draw: int, size: int | None) -> TrainStream:
        return take(data.train, size or batch_size, draw, augmentation='none')

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
        step_runner = StepRunner(
            run_state, schedule, total, chunk, data.train.ids, folder=writes, tracer=tracer
        )
        while (run_state.done < total and not run_state.best.exhausted) or run_state.due:
            done = run_state.done
            # Of a run that was stopped in its validation: that comes before the next phase.
            due = run_state.due and (done == total or done % every == 0)
            stop_if_requested()
            if done in plan.choose_at and done not in phase_state.chosen and not due:
                with bar.excluded('choosing'):
                    phase_state.enter(done)
                    phase_state.choose(DataProbe(phase_state, data, done, parts, trial), done)
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
            with bar.excluded('validating'), run_state.timings.stage('evaluation'):
                batches = while_wanted(source.validation)
                weights = phase_state.as_trained()
                outputs = predict(network, weights, batches, preprocessing, source.start, sharding)
                values = task.validate(outputs, settings.metric)
            factor = plan_factor(phase_state.plan, schedule, run_state.done - 1, total)
            row = {
                'epoch': run_state.done / stream.steps_per_epoch,
                **run_state.accumulator.finish(),
                'rate': float(optimizer.learning_rate * factor),
                **{f'val_{name}': value for name, value in values.items()},
                **device_peak(),
            }
            if not run_state.history:
                warn_of_still(phase_state.still(), run_state.done)
            run_state.record(row, values, phase_state.current())
        final = run_state.final(new_phase_state())
    if progress and run_state.done < total:
        whole = total / stream.steps_per_epoch
        _log.info(
            'stopped early after %.4g of %.4g epochs: %d validations without a better one '
            '(train.patience)',
            run_state.done / stream.steps_per_epoch,
            whole,
            run_state.best.since,
        )
    warn_of_waiting(run_state.timings.stages)
    if settings.keep == 'best' and not run_state.best.defined:
        _log.warning(
            "no validation of the run gave a number, so that train.keep='best' has nothing to "
            'choose by: the last weights are kept'
        )
    return result_of(variables, final, run_state)


def rounded_up(examples: int, unit: int = 8) -> int:
    """A number of examples that is a multiple of `unit`: folds of like size share a program."""
    return -(-examples // unit) * unit


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
