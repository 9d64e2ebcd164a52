"""A range test: the loss while the rate rises from tiny to far too large, in one short run.

Source: Smith (2017), Cyclical learning rates for training neural networks, arXiv 1506.01186.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from ftjax.data.dataset import Splits
from ftjax.errors import UserError
from ftjax.optim.schedule import ScheduleSettings
from ftjax.runs.prepare import Prepared, prepare
from ftjax.runs.run_spec import run_spec
from ftjax.training.loop.fit import fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMOOTHING = 0.9
_ROUND = (1.0, 3.0)  # rates that are tried: 1e-4, 3e-4, 1e-3, ..


@dataclasses.dataclass(frozen=True)
class RateRange:
    """What a range test found."""

    rates: np.ndarray
    """Of leaves with multiplier 1, rising, (steps,)."""
    losses: np.ndarray
    """Training loss of each step, smoothed, (steps,)."""
    grid: tuple[float, ...]
    """Rates to try, each with a whole run and validation: a start for a search, not its answer."""
    starts: tuple[int, ...] = ()
    """Steps at which later phases of the plan begin: the loss then is of other leaves."""

    def __str__(self) -> str:
        tried = ', '.join(f'{rate:g}' for rate in self.grid)
        return f'rates to try, each in a whole run: {tried} (a range test is no answer by itself)'

    def figure(self) -> Figure:
        """Loss against rate, as a matplotlib Figure."""
        from ftjax.plotting.style import COLOURS, GREY, new_figure, quiet

        figure = new_figure(4.8, 3.2)
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, color=COLOURS[0])
        for rate in self.grid:
            axes.axvline(rate, color=COLOURS[1], linewidth=0.8, linestyle='--')
        for step in self.starts:
            axes.axvline(self.rates[min(step, len(self.rates) - 1)], color=GREY, linewidth=0.8)
        lowest = float(np.min(self.losses))
        axes.set(
            xscale='log',
            xlabel='learning rate, log scale',
            ylabel='training loss, smoothed (lower is better)',
            title='Range test; dashed: rates to try',
            ylim=(lowest - 0.05 * abs(lowest), min(np.max(self.losses), 3 * self.losses[0])),
        )
        quiet(axes)
        return figure


def rate_range(
    prepared: Prepared,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    progress: bool = False,
) -> RateRange:
    """Trains a run of so many steps under the plan's own phases while the rate rises.

    Nothing is kept of the run, and no validation example is looked at.

    Args:
      prepared: the run.
      low, high: first and last rate.
      steps: of the test; 100 or so.
      progress: whether it is shown.

    Raises:
      UserError: rates or steps that are no range; a plan that chooses by validation; a loss that
        is no number from the start.
    """
    if not (0 < low < high and math.isfinite(high)) or steps < 10:
        raise UserError(
            f'range test from {low:g} to {high:g} in {steps} steps; expected 0 < low < high and '
            '10 steps or more'
        )
    config, data = prepared.config, prepared.data
    if prepared.plan.term('shape') is not None:
        raise UserError(
            f'{prepared.plan.strategy} says how the rate changes over time; a range test cannot'
        )
    short = dataclasses.replace(
        config,
        optimizer=dataclasses.replace(config.optimizer, learning_rate=high),
        schedule=ScheduleSettings(name=f'range_test:{low / high!r}', warmup=0.0),
        train=dataclasses.replace(
            config.train,
            steps=steps,
            threshold='',
            adapt='',
            keep='last',
            patience=None,
            eval_every=1e-9,
            skip_bad=steps,
            loggers=(),
            tensorboard=False,
        ),
    )
    without = Splits(train=data.train, val=data.val.take([]), test=data.test.take([]))
    run = prepare(short, without, prepared.opened)
    # The rate rises once over the whole test, whatever a plan does at its phases.
    phases = tuple(dataclasses.replace(phase, restart=False) for phase in run.plan.phases)
    plan = dataclasses.replace(run.plan, phases=phases, rewarm=0)
    spec = dataclasses.replace(run_spec(run), plan=plan)
    history = fit(spec, progress=progress).history
    known = [row for row in history if row.get('train_loss') is not None]
    rows = [(row['rate'], row['train_loss']) for row in known]
    if len(rows) < 5:
        raise UserError('the loss of the range test is no number from the start; lower its rates')
    rates, losses = np.array(rows, np.float64).T
    smooth = smoothed(losses)
    starts = tuple(int(start) for start in run.plan.boundaries if 0 < start < steps)
    return RateRange(rates, smooth, grid_of(rates, smooth), starts)


def smoothed(losses: np.ndarray) -> np.ndarray:
    """Exponential mean of the losses so far, without the bias towards the start.

    >>> smoothed(np.array([2.0, 2.0, 2.0])).tolist()
    [2.0, 2.0, 2.0]
    """
    mean, found = 0.0, np.empty(len(losses))
    for index, loss in enumerate(losses):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found[index] = round(mean / (1 - SMOOTHING ** (index + 1)), 12)
    return found


def grid_of(rates: np.ndarray, losses: np.ndarray) -> tuple[float, ...]:
    """Three rates around a tenth of that at which the loss is lowest.

    At the lowest loss the rate is already about to be too large.

    >>> grid_of(np.array([1e-4, 1e-3, 1e-2, 1e-1]), np.array([2.0, 1.5, 1.0, 9.0]))
    (0.0003, 0.001, 0.003)
    """
    middle = math.log10(float(rates[int(np.argmin(losses))]) / 10)
    known = [(power, base) for power in range(-12, 4) for base in _ROUND]
    exact = [math.log10(base) + power for power, base in known]
    at = int(np.argmin(np.abs(np.array(exact) - middle)))
    at = min(max(at, 1), len(known) - 2)
    return tuple(float(f'{known[i][1] * 10.0 ** known[i][0]:g}') for i in (at - 1, at, at + 1))
