"""What is said of a step whose loss or gradient is no number: where, which examples, which stages.

The gradient is computed once more, at the weights before the step, outside the program that
trains: that program reports one norm and keeps no gradient.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from ftjax.distributed.device_put import on_host
from ftjax.errors import UserError
from ftjax.io.files.atomic import write_json
from ftjax.pytrees import Batch
from ftjax.training.step.phase_state import PhaseState

FILE = 'bad_step.json'


class Diverged(UserError):
    """The loss or its gradient is no longer a number; the last good checkpoint is kept."""


def diverged(
    phase_state: PhaseState,
    batch: Batch,
    rates: np.ndarray,
    metrics: Mapping[str, float],
    step: int,
    ids: Sequence[str],
    folder: pathlib.Path | None,
    *,
    saved: Sequence[int] = (),
    start: str | None = None,
) -> Diverged:
    """The error that ends a run at a bad step; the details go to bad_step.json in its folder.

    Args:
      phase_state: with the state before that step.
      batch, rates: of the step.
      metrics: 'loss' and 'grad_norm' as the step reported them.
      step: counted from 1.
      ids: the example ids of the batch.
      folder: of the run, None for none.
      saved: steps of the checkpoints there are.
      start: the stage that the batch enters at, None for raw inputs.
    """
    norms = gradient_norms(phase_state, batch, rates, start)
    finite = {name: norm for name, norm in norms.items() if math.isfinite(norm)}
    ranked = [name for name in norms if name not in finite]
    ranked += sorted(finite, key=lambda name: -finite[name])
    if folder is not None:
        details = {
            'step': step,
            **{name: repr(float(value)) for name, value in metrics.items()},
            'examples': list(ids),
            'gradient_norms': {name: repr(norms[name]) for name in ranked},
        }
        write_json(folder / FILE, details)
    last = f'; the last good checkpoint is that of step {max(saved)}' if saved else ''
    largest = ', '.join(f'{name} {norms[name]:.3g}' for name in ranked[:3])
    return Diverged(
        f'{described(metrics)} at step {step}; examples {shown(ids)}; largest gradient norms by '
        f'stage: {largest}{last}; lower optimizer.learning_rate (it is '
        f'{phase_state.spec.optimizer.learning_rate:g}), set optimizer.clip_norm, or let '
        'train.skip_bad steps pass'
    )


def described(metrics: Mapping[str, float]) -> str:
    """Which number is bad, in words.

    >>> described({'loss': 2.0, 'grad_norm': math.inf})
    'the gradient norm is inf (the loss is 2)'
    """
    loss, norm = float(metrics['loss']), float(metrics['grad_norm'])
    if not math.isfinite(loss):
        return f'the loss is {loss}'
    return f'the gradient norm is {norm} (the loss is {loss:.4g})'


def shown(ids: Sequence[str], limit: int = 6) -> str:
    """The first few ids, and how many more there are."""
    more = f' and {len(ids) - limit} more' if len(ids) > limit else ''
    return ', '.join(map(str, ids[:limit])) + more


def gradient_norms(
    phase_state: PhaseState, batch: Batch, rates: np.ndarray, start: str | None = None
) -> dict[str, float]:
    """The norm of the gradient of each stage that trains, by the step's own loss and noise.

    Norms are taken in float64, so that only a gradient that is not finite gives one.
    """
    gradients = jax.jit(phase_state.step(start).gradients)
    _, grads = gradients(phase_state.state, phase_state.frozen, batch, rates)
    squares: dict[str, float] = {}
    for path, leaf in on_host(grads).items():
        with np.errstate(over='ignore', invalid='ignore'):
            total = float(np.square(np.asarray(leaf, np.float64)).sum())
        stage = path.split('/')[0]
        squares[stage] = squares.get(stage, 0.0) + total
    return {name: math.sqrt(squares[name]) for name in phase_state.phase.stages if name in squares}
