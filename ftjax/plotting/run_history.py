"""The training of a run in one figure: losses, and the metric of its validations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.plotting.style import COLOURS, new_figure, quiet
from ftjax.tasks.metrics import as_metric


def history_figure(history: Sequence[JsonObject], metric: str) -> Any:
    """Losses, and a validation metric, by epoch; UserError before the first validation."""
    if not history:
        raise UserError('nothing was trained yet, so there is no history; call fit() first')
    figure = new_figure(8.4, 3.0)
    losses, values = figure.subplots(1, 2)
    for name, key, colour in (
        ('training', 'train_loss', COLOURS[0]),
        ('validation', 'val_loss', COLOURS[1]),
    ):
        known = [(row['epoch'], row[key]) for row in history if row.get(key) is not None]
        losses.plot(*zip(*known, strict=True) if known else ([], []), color=colour, label=name)
    losses.set(xlabel='epoch', ylabel='loss (lower is better)', title='Loss')
    losses.legend(frameon=False)
    key = f'val_{metric}'
    known = [(row['epoch'], row[key]) for row in history if row.get(key) is not None]
    values.plot(*zip(*known, strict=True) if known else ([], []), color=COLOURS[1])
    better = 'higher' if as_metric(metric).higher_is_better else 'lower'
    label = as_metric(metric).label
    values.set(xlabel='epoch', ylabel=f'{label} ({better} is better)', title=f'Validation {label}')
    for axes in (losses, values):
        quiet(axes)
    return figure
