"""The training of one run: losses, the metric that decides, the rate and the gradient norm."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.plotting import number_formats
from ftjax.plotting.style import COLOURS, GREY, INK, new_figure, quiet, titled
from ftjax.printable import in_figure
from ftjax.tasks.metrics import as_metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (4.8, 2.9)
"""Inches of each figure: two fit beside each other on a page, one on a telephone."""


def learning_curves(
    history: Sequence[JsonObject],
    metric: str,
    best_step: int | None = None,
    starts: Sequence[float] = (),
    reference: tuple[str, float] | None = None,
    loss_unit: str = '',
) -> list[tuple[str, Figure]]:
    """(caption, figure) of what is known of the training of a run; none without a validation.

    Args:
      history: rows of metrics.jsonl.
      metric: the one that decides which weights are kept.
      best_step: the step of these.
      starts: epochs at which later phases begin.
      reference: name and value of the metric without a network, for a line across.
      loss_unit: of both losses; empty where they have none in common.
    """
    best = next((row['epoch'] for row in history if row['step'] == best_step), None)
    made = []
    for panel in _panels(history, metric, reference, loss_unit):
        figure = new_figure(*SIZE)
        _draw(figure.add_subplot(), panel, best, starts)
        made.append((panel.caption, figure))
    return made


def learning_figure(
    history: Sequence[JsonObject], metric: str, best_step: int | None = None
) -> Figure:
    """The same curves side by side in one matplotlib Figure.

    Raises:
      UserError: before the first validation.
    """
    panels = _panels(history, metric, None)
    if not panels:
        raise UserError('nothing was trained yet, so there is no history; call fit() first')
    best = next((row['epoch'] for row in history if row['step'] == best_step), None)
    rows = -(-len(panels) // 2)
    figure = new_figure(2 * SIZE[0], rows * SIZE[1])
    places = figure.subplots(rows, 2, squeeze=False).reshape(-1)
    for axes, panel in zip(places, panels, strict=False):
        _draw(axes, panel, best, ())
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    return figure


@dataclasses.dataclass(frozen=True)
class _Panel:
    title: str
    label: str
    caption: str
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]]
    scale: float = 1.0
    across: tuple[str, float] | None = None
    logarithmic: bool = False


def _panels(
    history: Sequence[JsonObject],
    metric: str,
    reference: tuple[str, float] | None,
    loss_unit: str = '',
) -> list[_Panel]:
    """What there is to draw, the loss first."""
    percent = number_formats.scale_of(metric) == 100
    higher = as_metric(metric).higher_is_better
    better = 'higher is better' if higher else 'lower is better'
    unit = as_metric(metric).unit
    decided = number_formats.title_of(metric) + (f' ({unit})' if unit else '')
    wanted = [
        (
            'Loss',
            f'loss ({loss_unit}), lower is better' if loss_unit else 'loss, lower is better',
            {'training': 'train_loss', 'validation': 'val_loss'},
            'Training loss is the mean over the steps since the last validation.',
        ),
        (
            f'Validation {number_formats.title_of(metric)}',
            f'{decided}, {better}',
            {'validation': f'val_{metric}'},
            'The metric that decides which weights are kept'
            + ('.' if reference is None else f'; dashed: {reference[0]}, on the test split.'),
        ),
        (
            'Learning rate',
            'learning rate a step',
            {'rate': 'rate'},
            'The rate of leaves with multiplier 1.',
        ),
        (
            'Gradient norm',
            'L2 norm (units of the loss), log scale',
            {'trained leaves': 'grad_norm'},
            'Mean over the steps since the last validation, before clipping.',
        ),
    ]
    made = []
    for title, label, lines, caption in wanted:
        known = {name: _series(history, key) for name, key in lines.items()}
        known = {name: series for name, series in known.items() if len(series[0])}
        if not known or (title != 'Loss' and set(lines.values()) == {'val_loss'}):
            continue
        decides = title.startswith('Validation')
        made.append(
            _Panel(
                title,
                label,
                caption,
                known,
                scale=100.0 if percent and decides else 1.0,
                across=reference if decides else None,
                logarithmic=title == 'Gradient norm'
                and all((y > 0).all() for _, y in known.values()),
            )
        )
    return made


def _series(history: Sequence[JsonObject], key: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(row['epoch'], row[key]) for row in history if row.get(key) is not None]
    found = np.array(pairs, np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _draw(axes: Axes, panel: _Panel, best: float | None, starts: Sequence[float]) -> None:
    for number, (name, (x, y)) in enumerate(panel.lines.items()):
        marker = 'o' if len(x) < 30 else ''
        axes.plot(
            *(x, panel.scale * y),
            color=COLOURS[number],
            linestyle=('-', '--')[number % 2],
            marker=marker,
            markersize=3,
            linewidth=1.4,
            label=name,
        )
    for number, start in enumerate(starts):
        said = 'next phase' if number == 0 else None
        axes.axvline(start, color=GREY, linewidth=0.9, linestyle=':', label=said)
    if panel.across is not None:
        name, value = panel.across
        said = in_figure(name if len(name) <= 40 else name[:39] + '…')
        axes.axhline(panel.scale * value, color=GREY, linewidth=1.2, linestyle='--', label=said)
    if best is not None:
        axes.axvline(best, color=INK, linewidth=0.9, linestyle='-.', label='best validation')
    # A long label would be cut off at the ends of the axis.
    beside = panel.label if len(panel.label) < 32 else panel.label.replace(', ', ',\n')
    axes.set(xlabel='epoch', ylabel=beside)
    axes.set_xlim(left=0)
    quiet(axes)
    titled(axes, panel.title)
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(frameon=False, fontsize=8)
    if panel.logarithmic:
        from matplotlib.ticker import LogFormatter

        axes.set_yscale('log')
        # Plain numbers, 1.5 and not 1.5 x 10^0; those between decades where there are few decades.
        axes.yaxis.set_major_formatter(LogFormatter())
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
