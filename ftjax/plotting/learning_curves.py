"""The training of one run: losses, the metric that decides, the rate and the gradient norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.io.json.json_values import JsonObject
from ftjax.plotting import number_formats
from ftjax.plotting.style import COLOURS, GREY, INK, new_figure, quiet, titled
from ftjax.printable import in_figure
from ftjax.tasks.metrics import as_metric

SIZE = (4.8, 2.9)
"""Inches of each figure: two fit beside each other on a page, one on a telephone."""


def learning_curves(
    history: Sequence[JsonObject],
    metric: str,
    best_step: int | None = None,
    starts: Sequence[float] = (),
    reference: tuple[str, float] | None = None,
) -> list[tuple[str, Any]]:
    """(caption, figure) of what is known of the training of a run; none without a validation.

    Args:
      history: rows of metrics.jsonl.
      metric: the one that decides which weights are kept.
      best_step: the step of these.
      starts: epochs at which later phases begin.
      reference: name and value of the metric without a network, for a line across.
    """
    if not history:
        return []
    best = next((row['epoch'] for row in history if row['step'] == best_step), None)
    percent = number_formats.scale_of(metric) == 100
    higher = as_metric(metric).higher_is_better
    better = 'higher is better' if higher else 'lower is better'
    wanted = [
        (
            'Loss',
            'loss, lower is better',
            {'training': 'train_loss', 'validation': 'val_loss'},
            'Training loss is the mean over the steps since the last validation.',
        ),
        (
            f'Validation {number_formats.title_of(metric)}',
            f'{number_formats.title_of(metric)}, {better}',
            {'validation': f'val_{metric}'},
            'The metric that decides which weights are kept'
            + ('.' if reference is None else f'; dashed: {reference[0]}, on the test split.'),
        ),
        ('Learning rate', 'rate', {'rate': 'rate'}, 'The rate of leaves with multiplier 1.'),
        (
            'Gradient norm',
            'L2 norm, log scale',
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
        scale = 100.0 if percent and decides else 1.0
        across = reference if decides else None
        figure = _figure(title, label, known, scale, best, starts, across)
        if title == 'Gradient norm' and all((y > 0).all() for _, y in known.values()):
            figure.axes[0].set_yscale('log')
        made.append((caption, figure))
    return made


def _series(history: Sequence[JsonObject], key: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(row['epoch'], row[key]) for row in history if row.get(key) is not None]
    found = np.array(pairs, np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _figure(
    title: str,
    label: str,
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    scale: float,
    best: float | None,
    starts: Sequence[float],
    across: tuple[str, float] | None,
) -> Any:
    figure = new_figure(*SIZE)
    axes = figure.add_subplot()
    for number, (name, (x, y)) in enumerate(lines.items()):
        marker = 'o' if len(x) < 30 else ''
        axes.plot(
            *(x, scale * y),
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
    if across is not None:
        name, value = across
        said = in_figure(name if len(name) <= 40 else name[:39] + '…')
        axes.axhline(scale * value, color=GREY, linewidth=1.2, linestyle='--', label=said)
    if best is not None:
        axes.axvline(best, color=INK, linewidth=0.9, linestyle='-.', label='best validation')
    axes.set(xlabel='epoch', ylabel=label)
    axes.set_xlim(left=0)
    quiet(axes)
    titled(axes, title)
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(frameon=False, fontsize=8)
    return figure
