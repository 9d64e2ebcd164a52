"""The one training loop: scripts, ablations and the Python API all call `fit`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ftjax.data import Splits, TrainStream, eval_batches
from ftjax.data.text_batches import stacked
from ftjax.freezing.optimizer import OptimizerSettings, state_bytes
from ftjax.freezing.plan import Plan
from ftjax.freezing.verification import Verification, verify
from ftjax.models.stages import Network
from ftjax.training.bad_numbers import Diverged, described, diverged, shown
from ftjax.training.cache import Sources
from ftjax.training.calls import longest_chunk, many
from ftjax.training.checkpoints import Checkpoints
from ftjax.training.course import Course, StepSettings, overlaid
from ftjax.training.interruption import (
    Interrupted,
    stop_if_requested,
    stops_on_signals,
    while_wanted,
)
from ftjax.training.logs import MetricsLog
from ftjax.training.norm_statistics import recomputed
from ftjax.training.plan_change import PlanChange
from ftjax.training.predict import predict
from ftjax.training.probe import DataProbe
from ftjax.training.profiling import Profile, warn_of_waiting
from ftjax.training.programs import program, replicated, sharded
from ftjax.training.progress import Progress
from ftjax.training.running import Running
from ftjax.training.schedule import ScheduleSettings, leaf_rates, plan_factor
from ftjax.training.settings import TrainSettings
from ftjax.training.timings import Timings
from ftjax.training.validation import BestSoFar, rank, score

__all__ = ['Diverged', 'FitResult', 'fit', 'longest_chunk']

_log = logging.getLogger(__name__)
DEFAULT_SCHEDULE, DEFAULT_TRAINING = ScheduleSettings(), TrainSettings()
NO_CHANGE = PlanChange()


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What `fit` gives back."""

    variables: dict[str, Any]
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
    """Of the compiled program: of one step, or of the body of its loop, which is the same."""
    phases: list[dict[str, Any]]
    """Start, steps, compile seconds, seconds and FLOPs a step of each phase."""
    stage_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    """Where the wall time went: data, step, evaluation, checkpoint, compile."""
    steps_skipped: int = 0
    """Steps whose loss or gradient was no number, under `train.skip_bad`."""
    cache: tuple[str, ...] = ()
    """What was decided about storing features, a line a phase."""


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

    Raises:
      Diverged: the loss or a gradient is NaN or infinite, more than settings.skip_bad times.
      Interrupted: a signal asked the run to stop; its state is saved.
      UserError: an empty split, a batch that cannot be shared out, or a checkpoint of another
        plan.
    """
    take = functools.partial(
        TrainStream,
        image_size=image_size,
        preprocessing=preprocessing,
        augmentation=augmentation,
    )
    stream = take(data.train, batch_size, seed)
    total = settings.total(stream.steps_per_epoch)
    every = max(1, round(settings.eval_every * stream.steps_per_epoch))
    # Chunks end wherever something may change, so that a phase needs one program.
    chunk = longest_chunk(
        math.gcd(every, *plan.boundaries), settings.calls(network, variables['params'])
    )
    stream = stream.in_runs(chunk)  # texts: batches of one call have one length
    if plan.recompute:
        batches = (model_inputs(stream.batch(n))['inputs'] for n in range(stream.steps_per_epoch))
        variables = recomputed(network, variables, batches, preprocessing)
    step_settings = StepSettings(
        preprocessing, augmentation, data.train.task, settings.label_smoothing
    )
    new_course = functools.partial(Course, network, variables, plan, optimizer, step_settings, seed)
    course = new_course()
    validation = eval_batches(data.val, eval_batch_size, image_size, preprocessing)
    best, history, done = BestSoFar(settings.patience), [], 0
    running, timings = Running(settings.skip_bad), Timings()
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
            batch_size=min(batch_size, len(data.train)),
            eval_batch_size=eval_batch_size,
            augmentation=augmentation,
            image_size=image_size,
            seed=seed,
            progress=False,
        )
        return found.history[-1]['val_score']

    def probe(step: int) -> DataProbe:
        def parts(draw: int, size: int | None) -> TrainStream:
            return take(data.train, size or batch_size, draw, augmentation='none')

        return DataProbe(course, data, step, parts, trial)

    with contextlib.ExitStack() as stack:
        checkpoints = log = best_variables = None
        if workdir is not None:
            folder = pathlib.Path(workdir)
            checkpoints = stack.enter_context(
                Checkpoints(folder / 'checkpoints', metric='rank', mode='max')
            )
            if checkpoints.steps:
                saved = checkpoints.restore('last')
                plan_change.judge(course.restore(saved.items, saved.step), saved.step, folder)
                told = saved.items['progress']
                # As text, because a checkpoint does not keep the order of keys.
                history, done = [json.loads(row) for row in told['history']], saved.step
                best = BestSoFar.from_json(told['best'], settings.patience)
                if saved.items.get('best'):
                    best_variables = overlaid(variables, saved.items['best'])
                if 'running' in told:
                    running = Running.from_saved(told['running'], settings.skip_bad)
                    timings = Timings.from_saved(told['timings'])
                    sources.lines = told['cache']
            written = history[-1]['step'] if history else 0
            log = stack.enter_context(
                MetricsLog(
                    folder, resume_step=written, rows=history, tensorboard=settings.tensorboard
                )
            )
        bar = stack.enter_context(
            Progress(total, plan.strategy, unit='step', start=done, enabled=progress)
        )
        if course.entered and best.step == done:
            best_variables = jax.device_get(course.current())

        def save(values: dict[str, float] | None = None) -> None:
            if checkpoints is None or not course.entered:
                return
            rows = [json.dumps(row) for row in history]
            told = {'history': rows, 'best': best.to_json(), 'running': running.to_saved()}
            told |= {'timings': timings.to_saved(), 'cache': sources.lines}
            items = {**course.to_saved(), 'progress': told}
            if settings.keep == 'best' and best_variables is not None and best.step != done:
                # Every checkpoint ends the run as well as any other, should others be damaged.
                items['best'] = course.leaves_of(best_variables)
            with timings.stage('checkpoint'):
                checkpoints.save(done, items, {'rank': rank(values)} if values else None)

        def leave(kind, error, _) -> None:
            if isinstance(error, Interrupted):
                if checkpoints is not None and done not in checkpoints.steps:
                    save()
                kept = 'saved: the same command goes on' if workdir else 'nothing is saved'
                error.say(f'at step {done} of {total}; {kept}')

        tracer = Profile(pathlib.Path(workdir) / 'profile' if workdir else None, profile)
        stack.callback(tracer.stop)
        stack.enter_context(stops_on_signals())
        stack.push(leave)
        while (done < total and not best.exhausted) or running.due:
            # Of a run that was stopped in its validation: that comes before the next phase.
            due = running.due and (done == total or done % every == 0)
            stop_if_requested()
            if done in plan.choose_at and done not in course.chosen and not due:
                with bar.excluded('choosing'):
                    course.enter(done)
                    course.choose(probe(done), done)
            if not due:
                course.enter(done)
            timings.enter(course.phase)
            ends = [total, (done // every + 1) * every]
            starts = [start for start in course.plan.boundaries if start > done]
            until = done if due else min(ends + starts)
            source = sources.of(course, done, bar)
            run, key = many(course.step(source.start)), course.key(source.start)
            while done < until:
                count = min(chunk, until - done)
                if count < chunk:
                    count = 1  # a short end runs step by step: no third program
                with timings.stage('data'):
                    group = [next(source.batches) for _ in range(count)]
                rates = np.stack(
                    [
                        leaf_rates(course.plan, schedule, optimizer.learning_rate, at, total)
                        for at in range(done, done + count)
                    ]
                )
                batch = stacked([model_inputs(one) for one in group], preprocessing)
                batch = sharded(batch, axis=1) if jax.device_count() > 1 else jax.device_put(batch)
                arguments = (
                    course.state,
                    course.frozen,
                    batch,
                    *replicated((rates, np.int32(running.skips_left))),
                )
                with timings.stage('compile'):
                    known = program(key, run, *arguments, donate=(0,))
                tracer.before_call()
                started = time.perf_counter()
                course.state, metrics = known.call(*arguments)
                # One number a chunk is waited for: the dispatch of the next overlaps nothing
                # worth having on a CPU, and the time of a step is then the step's own.
                found = {name: np.asarray(values).tolist() for name, values in metrics.items()}
                tracer.after_call(count)
                timings.add(known, time.perf_counter() - started, count)
                skipped, fatal = running.add(found['loss'], found['grad_norm'])
                for at in (*skipped, *([] if fatal is None else [fatal])):
                    values = {name: numbers[at] for name, numbers in found.items()}
                    ids = [data.train.ids[i] for i in group[at]['index']]
                    if at == fatal:
                        raise diverged(
                            course,
                            model_inputs(group[at]),
                            rates[at],
                            values,
                            done + at + 1,
                            ids,
                            pathlib.Path(workdir) if workdir is not None else None,
                            saved=checkpoints.steps if checkpoints is not None else (),
                            start=source.start,
                        )
                    _log.warning(
                        'step %d is skipped: %s; examples %s',
                        done + at + 1,
                        described(values),
                        shown(ids),
                    )
                done += count
                bar.update(done, {'loss': found['loss'][-1]})
                stop_if_requested()
            if done < total and done % every:
                continue  # a phase ends here, no validation is due
            current = course.current()
            with bar.excluded('validating'), timings.stage('evaluation'):
                parts = while_wanted(source.validation)
                outputs = predict(network, current, parts, preprocessing, source.start)
                values = score(outputs, data.val.task)
            rate = optimizer.learning_rate * plan_factor(course.plan, schedule, done - 1, total)
            row = {
                'epoch': done / stream.steps_per_epoch,
                **running.finish(),
                'rate': float(rate),
                **{f'val_{name}': value for name, value in values.items()},
            }
            if not history:
                warn_of_still(course.still(), done)
            history.append({'step': done, **row})
            if best.update(done, values['score'], values):
                best_variables = jax.device_get(current)
            if log is not None:
                log.write(done, row)
            save(values)
        if settings.keep == 'last':
            final = jax.device_get(course.current())
        elif best_variables is None and checkpoints is not None:
            saved = checkpoints.restore('best')
            other = new_course()
            other.restore(saved.items, saved.step)
            final = jax.device_get(other.current())
        else:
            final = best_variables or jax.device_get(course.current())
    warn_of_waiting(timings.stages)
    made = course.plan
    return FitResult(
        variables=final,
        plan=made,
        steps=done,
        best_step=best.step,
        validation=best.values,
        history=history,
        verification=verify(
            variables,
            final,
            made.trained | course.former['params'],
            made.moving_stats | course.former['stats'],
            made.entries,
        ),
        optimizer_bytes=state_bytes(course.state.opt_state),
        compile_seconds=timings.compile_seconds,
        step_seconds_median=timings.step_seconds_median,
        wall_seconds=timings.wall_seconds,
        stage_seconds=dict(timings.stages),
        steps_skipped=running.skipped,
        step_flops=timings.flops,
        phases=timings.to_json(),
        cache=tuple(sources.lines),
    )


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


def model_inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    """What of a batch goes to the device."""
    return {key: batch[key] for key in ('inputs', 'labels', 'mask')}
