"""The one training loop: scripts, ablations and the Python API all call `fit`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
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
from ftjax.errors import UserError
from ftjax.freezing.optimizer import OptimizerSettings, state_bytes
from ftjax.freezing.plan import Plan
from ftjax.freezing.verification import Verification, verify
from ftjax.models.stages import Network
from ftjax.training.checkpoints import Checkpoints
from ftjax.training.course import Course, StepSettings
from ftjax.training.logs import MetricsLog
from ftjax.training.norm_statistics import recomputed
from ftjax.training.predict import predict
from ftjax.training.probe import DataProbe
from ftjax.training.programs import program, replicated, sharded
from ftjax.training.progress import Progress
from ftjax.training.schedule import ScheduleSettings, leaf_rates, plan_factor
from ftjax.training.settings import TrainSettings
from ftjax.training.state import TrainState
from ftjax.training.timings import Timings
from ftjax.training.validation import BestSoFar, rank, score

_log = logging.getLogger(__name__)
DEFAULT_SCHEDULE, DEFAULT_TRAINING = ScheduleSettings(), TrainSettings()


class Diverged(UserError):
    """The loss is no longer a number; the last good checkpoint is kept."""


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
) -> FitResult:
    """Trains what the plan trains, validates, and checks that nothing else moved.

    Args:
      network, variables: what is fine-tuned, as `load_pretrained` gives them.
      plan: what trains.
      data: training and validation splits.
      workdir: where metrics.jsonl and checkpoints go, and where an interrupted run is found
        again; None to keep everything in memory.

    Raises:
      Diverged: the loss is NaN or infinite.
      UserError: an empty split, or a batch that cannot be shared out.
    """
    began = time.perf_counter()
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

    def trial(variables, plan, data, epochs) -> float:
        """The last validation score of a short run of its own, for strategies that try."""
        short = dataclasses.replace(
            settings, epochs=epochs, steps=None, eval_every=epochs, keep='last', patience=None
        )
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
        checkpoints = log = None
        if workdir is not None:
            folder = pathlib.Path(workdir)
            checkpoints = stack.enter_context(
                Checkpoints(folder / 'checkpoints', metric='rank', mode='max')
            )
            if checkpoints.steps:
                saved = checkpoints.restore('last')
                course.restore(saved.items, saved.step)
                history, done = saved.items['progress']['history'], saved.step
                best = BestSoFar.from_json(saved.items['progress']['best'], settings.patience)
            log = stack.enter_context(
                MetricsLog(folder, resume_step=done, tensorboard=settings.tensorboard)
            )
        bar = stack.enter_context(
            Progress(total, plan.strategy, unit='step', start=done, enabled=progress)
        )
        best_variables = jax.device_get(course.current()) if best.step == done else None
        timings, batches = Timings(), stream.iterate(done)
        losses, norms = [], []
        while done < total and not best.exhausted:
            if done in plan.choose_at and done not in course.chosen:
                with bar.excluded('choosing'):
                    course.enter(done)
                    course.choose(probe(done), done)
            course.enter(done)
            timings.enter(course.phase)
            ends = [total, (done // every + 1) * every]
            until = min(ends + [start for start in course.plan.boundaries if start > done])
            run, key = many(course.step()), course.key()
            while done < until:
                count = min(chunk, until - done)
                if count < chunk:
                    count = 1  # a short end runs step by step: no third program
                group = [model_inputs(next(batches)) for _ in range(count)]
                rates = np.stack(
                    [
                        leaf_rates(course.plan, schedule, optimizer.learning_rate, at, total)
                        for at in range(done, done + count)
                    ]
                )
                batch = stacked(group, preprocessing)
                batch = sharded(batch, axis=1) if jax.device_count() > 1 else jax.device_put(batch)
                arguments = course.state, course.frozen, batch, replicated(rates)
                known = program(key, run, *arguments, donate=(0,))
                started = time.perf_counter()
                course.state, metrics = known.call(*arguments)
                # One number a chunk is waited for: the dispatch of the next overlaps nothing
                # worth having on a CPU, and the time of a step is then the step's own.
                losses.extend(np.asarray(metrics['loss']).tolist())
                norms.extend(np.asarray(metrics['grad_norm']).tolist())
                timings.add(known, time.perf_counter() - started, count)
                done += count
                if not all(math.isfinite(loss) for loss in losses):
                    raise Diverged(
                        f'the loss is {losses[-1]} by step {done - count + 1}; lower '
                        f'optimizer.learning_rate (it is {optimizer.learning_rate:g}) or set '
                        'optimizer.clip_norm'
                    )
                bar.update(done, {'loss': losses[-1]})
            if done < total and done % every:
                continue  # a phase ends here, no validation is due
            current = course.current()
            with bar.excluded('validating'):
                values = score(predict(network, current, validation, preprocessing), data.val.task)
            rate = optimizer.learning_rate * plan_factor(course.plan, schedule, done - 1, total)
            row = {
                'epoch': done / stream.steps_per_epoch,
                'train_loss': float(np.mean(losses)),
                'grad_norm': float(np.mean(norms)),
                'rate': float(rate),
                **{f'val_{name}': value for name, value in values.items()},
            }
            losses, norms = [], []
            if not history:
                warn_of_still(course.still(), done)
            history.append({'step': done, **row})
            if best.update(done, values['score'], values):
                best_variables = jax.device_get(current)
            if log is not None and checkpoints is not None:
                log.write(done, row)
                told = {'history': history, 'best': best.to_json()}
                items = {**course.to_saved(), 'progress': told}
                checkpoints.save(done, items, {'rank': rank(values)})
        if settings.keep == 'last':
            final = jax.device_get(course.current())
        elif best_variables is None and checkpoints is not None:
            saved = checkpoints.restore('best')
            other = new_course()
            other.restore(saved.items, saved.step)
            final = jax.device_get(other.current())
        else:
            final = best_variables or jax.device_get(course.current())
    made = course.plan
    entries = made.choices[0].entries if len(made.choices) == 1 else {}
    return FitResult(
        variables=final,
        plan=made,
        steps=done,
        best_step=best.step,
        validation=best.values,
        history=history,
        verification=verify(variables, final, made.trained, made.moving_stats, entries),
        optimizer_bytes=state_bytes(course.state.opt_state),
        compile_seconds=timings.compile_seconds,
        step_seconds_median=timings.step_seconds_median,
        wall_seconds=time.perf_counter() - began,
        step_flops=timings.flops,
        phases=timings.to_json(),
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


def longest_chunk(every: int, most: int) -> int:
    """The largest divisor of `every` up to `most`: chunks that end where validation is due.

    >>> longest_chunk(12, 8), longest_chunk(7, 4)
    (6, 1)
    """
    return max(size for size in range(1, min(every, max(most, 1)) + 1) if every % size == 0)


def many(step):
    """The step, scanned over a leading axis of batches and rates."""

    def run(state: TrainState, frozen, batches, rates):
        def one(state, inputs):
            return step(state, frozen, *inputs)

        if rates.shape[0] == 1:  # no loop: convolutions inside one are slow on a CPU
            state, metrics = one(state, jax.tree.map(lambda x: x[0], (batches, rates)))
            return state, jax.tree.map(lambda x: x[None], metrics)
        return jax.lax.scan(one, state, (batches, rates))

    return run


def model_inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    """What of a batch goes to the device."""
    return {key: batch[key] for key in ('inputs', 'labels', 'mask')}
