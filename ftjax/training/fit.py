"""The one training loop: scripts, ablations and the Python API all call `fit`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import statistics
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ftjax.data import Splits, TrainStream, eval_batches
from ftjax.errors import UserError
from ftjax.freezing.optimizer import OptimizerSettings, make_optimizer, state_bytes
from ftjax.freezing.plan import Plan
from ftjax.freezing.verification import Verification, verify
from ftjax.models.stages import Network
from ftjax.training.checkpoints import Checkpoints, merge
from ftjax.training.cost import flops_of
from ftjax.training.logs import MetricsLog
from ftjax.training.predict import predict
from ftjax.training.programs import program, replicated, sharded
from ftjax.training.progress import Progress
from ftjax.training.schedule import ScheduleSettings, rate_factor
from ftjax.training.state import TrainState, make_state, variables_of
from ftjax.training.step import make_train_step
from ftjax.training.validation import BestSoFar, score


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What a config says about training: `config.train`."""

    epochs: float = 10.0
    """Passes over the training split; not used when `steps` is given."""
    steps: int | None = None
    eval_every: float = 1.0
    """Epochs between validations."""
    label_smoothing: float = 0.0
    patience: int | None = None
    """Validations without a better one after which training stops; None for never."""
    keep: str = 'best'
    """Which weights the run ends with: of the `best` validation, or the `last`."""
    steps_per_call: int = 16
    """Most steps that one dispatch runs: a program loops over them on the device. 1 for
    convolutional networks on a CPU, where the compiler runs convolutions in a loop slowly."""
    tensorboard: bool = False

    def __post_init__(self):
        if self.keep not in ('best', 'last'):
            raise UserError(f"train.keep is {self.keep!r}; expected 'best' or 'last'")
        if self.steps is None and not self.epochs > 0:
            raise UserError(f'train.epochs is {self.epochs!r}; expected more than 0')
        if self.steps is not None and self.steps < 1:
            raise UserError(f'train.steps is {self.steps!r}; expected at least 1')


DEFAULT_SCHEDULE, DEFAULT_TRAINING = ScheduleSettings(), TrainSettings()


class Diverged(UserError):
    """The loss is no longer a number; the last good checkpoint is kept."""


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What `fit` gives back."""

    variables: dict[str, Any]
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
    phase = plan.at(0)
    stream = TrainStream(data.train, batch_size, seed, image_size, preprocessing)
    total = settings.steps or max(1, round(settings.epochs * stream.steps_per_epoch))
    every = max(1, round(settings.eval_every * stream.steps_per_epoch))
    chunk = longest_chunk(every, settings.steps_per_call)
    step = make_train_step(
        network,
        phase,
        optimizer,
        preprocessing=preprocessing,
        augmentation=augmentation,
        task=data.train.task,
        label_smoothing=settings.label_smoothing,
    )
    # The rate is an argument of the step, so the program does not depend on it.
    key = (
        network,
        phase.program,
        dataclasses.replace(optimizer, learning_rate=1.0),
        preprocessing,
        augmentation,
        data.train.task,
        settings.label_smoothing,
    )
    tx = make_optimizer(phase, optimizer)
    state, frozen = make_state(variables, phase, tx, optimizer.ema, seed)
    multipliers = np.asarray(phase.multipliers, np.float32)
    validation = eval_batches(data.val, eval_batch_size, image_size, preprocessing)
    best, history, done = BestSoFar(settings.patience), [], 0

    with contextlib.ExitStack() as stack:
        checkpoints = log = None
        if workdir is not None:
            folder = pathlib.Path(workdir)
            checkpoints = stack.enter_context(
                Checkpoints(folder / 'checkpoints', metric='score', mode='max')
            )
            if checkpoints.steps:
                saved = checkpoints.restore('last')
                state, _ = merge(saved.items['state'], state)
                history, done = saved.items['progress']['history'], saved.step
                best = BestSoFar.from_json(saved.items['progress']['best'], settings.patience)
            log = stack.enter_context(
                MetricsLog(folder, resume_step=done, tensorboard=settings.tensorboard)
            )
        bar = stack.enter_context(
            Progress(total, plan.strategy, unit='step', start=done, enabled=progress)
        )
        state, frozen = replicated((state, frozen))
        best_variables = None
        if best.step == done:
            best_variables = jax.device_get(variables_of(state, frozen, averaged=True))
        compile_seconds, times, flops = 0.0, [], None
        batches = stream.iterate(done)
        while done < total and not best.exhausted:
            losses, norms = [], []
            until = min(total, (done // every + 1) * every)
            while done < until:
                count = min(chunk, until - done)
                if count < chunk:
                    count = 1  # a short end runs step by step: no third program
                group = [model_inputs(next(batches)) for _ in range(count)]
                rates = [
                    optimizer.learning_rate * rate_factor(schedule, done + i, total) * multipliers
                    for i in range(count)
                ]
                batch = jax.tree.map(lambda *x: np.stack(x), *group)
                rates = np.stack(rates).astype(np.float32)
                batch = sharded(batch, axis=1) if jax.device_count() > 1 else jax.device_put(batch)
                rates = replicated(rates)
                known = program(key, many(step), state, frozen, batch, rates, donate=(0,))
                started = time.perf_counter()
                state, metrics = known.call(state, frozen, batch, rates)
                # One number a chunk is waited for: the dispatch of the next overlaps nothing
                # worth having on a CPU, and the time of a step is then the step's own.
                losses.extend(np.asarray(metrics['loss']).tolist())
                norms.extend(np.asarray(metrics['grad_norm']).tolist())
                times.append((time.perf_counter() - started) / count)
                compile_seconds = max(compile_seconds, known.seconds)
                flops = flops_of(known.call)
                done += count
                if not all(math.isfinite(loss) for loss in losses):
                    bad = done - count + 1
                    raise Diverged(
                        f'the loss is {losses[-1]} by step {bad}; lower optimizer.learning_rate '
                        f'(it is {optimizer.learning_rate:g}) or set optimizer.clip_norm'
                    )
                bar.update(done, {'loss': losses[-1]})
            current = variables_of(state, frozen, averaged=True)
            with bar.excluded('validating'):
                values = score(predict(network, current, validation, preprocessing), data.val.task)
            row = {
                'epoch': done / stream.steps_per_epoch,
                'train_loss': float(np.mean(losses)),
                'grad_norm': float(np.mean(norms)),
                'rate': float(optimizer.learning_rate * rate_factor(schedule, done - 1, total)),
                **{f'val_{name}': value for name, value in values.items()},
            }
            history.append({'step': done, **row})
            if best.update(done, values['score'], values):
                best_variables = jax.device_get(current)
            if log is not None and checkpoints is not None:
                log.write(done, row)
                items = {
                    'state': jax.device_get(state),
                    'progress': {'history': history, 'best': best.to_json()},
                }
                checkpoints.save(done, items, {'score': values['score']})
        final = jax.device_get(variables_of(state, frozen, averaged=True))
        if settings.keep == 'best':
            if best_variables is None and checkpoints is not None:
                saved = checkpoints.restore('best')
                old, _ = merge(saved.items['state'], state)
                best_variables = jax.device_get(variables_of(old, frozen, averaged=True))
            final = best_variables if best_variables is not None else final
    return FitResult(
        variables=final,
        steps=done,
        best_step=best.step,
        validation=best.values,
        history=history,
        verification=verify(variables, final, phase.trainable, phase.moving_stats),
        optimizer_bytes=state_bytes(state.opt_state),
        compile_seconds=compile_seconds,
        # The first call of a program pays for its loading too.
        step_seconds_median=statistics.median(times[1:] or times) if times else None,
        wall_seconds=time.perf_counter() - began,
        step_flops=flops,
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
