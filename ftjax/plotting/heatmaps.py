"""Heat maps: arms against shifts or tasks, and which stages moved how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.io.json.json_values import JsonObject
from ftjax.plotting import number_formats
from ftjax.plotting.style import INK, LIGHT, new_figure


def scores_by_shift(summary: JsonObject):
    """Arms against tasks, such as shifts; None for one task.

    Colour is the difference to the reference on that column, the number is the score.
    """
    columns = _columns(summary)
    if len(columns) < 2:
        return None
    names = [arm['arm'] for arm in summary['tasks'][0]['arms']]
    metric = summary['metric']
    scale = number_formats.scale_of(metric)
    scores = np.array(
        [[_number(column.get(name)) for column in columns.values()] for name in names]
    )
    reference = np.array([_number(c.get(summary['reference'])) for c in columns.values()])
    difference = scale * (scores - reference)
    sign = 1 if summary['higher_is_better'] else -1
    texts = [[number_formats.score(value, metric) for value in row] for row in scores]
    unit = ' (points)' if scale == 100 else ''
    # A baseline far below everything must not wash out the differences among the others.
    sizes = np.abs(difference[np.isfinite(difference) & (difference != 0)])
    limit = float(min(sizes.max(), 3 * np.median(sizes))) if len(sizes) else 1.0
    return _heat(
        sign * difference,
        names,
        list(columns),
        texts,
        cmap='RdBu',
        limits=(-limit, limit),
        label=f'better or worse than {summary["reference"]}{unit}',
        title=f'Numbers: {number_formats.headed(summary)}',
    )


def movement(task: Mapping[str, Any], summary: Mapping[str, object]):
    """How far each stage's parameters moved from where they began; None if not measured."""
    arms = [arm for arm in task['arms'] if arm['movement']]
    if not arms:
        return None
    stages = list(dict.fromkeys(stage for arm in arms for stage in arm['movement']))
    values = np.array([[arm['movement'].get(stage, np.nan) for stage in stages] for arm in arms])
    # Frozen stages did not move at all: they are left grey rather than called small.
    moved = np.where(values > 0, values, np.nan)
    texts = [['' if np.isnan(v) or v <= 0 else f'{v:.2g}' for v in row] for row in values]
    return _heat(
        moved,
        [arm['arm'] for arm in arms],
        stages,
        texts,
        cmap='YlGnBu',
        limits=_positive_limits(moved),
        label='relative change of the parameters',
        title='Grey: did not move (frozen)',
        logarithmic=True,
    )


def choices_over_time(
    choices: Sequence[tuple[int, Mapping[str, float]]], stages: Sequence[str], strategy: str
):
    """What a strategy chose: stages against the steps at which it looked; grey: nothing there."""
    values = np.array([[found.get(name, np.nan) for _, found in choices] for name in stages])
    if not np.isfinite(values).any():
        values = np.zeros_like(values)
    high = float(np.nanmax(values)) or 1.0
    few = len(choices) <= 12
    texts = [[f'{v:.2g}' if few and np.isfinite(v) else '' for v in row] for row in values]
    return _heat(
        values,
        list(stages),
        [str(step) for step, _ in choices],
        texts,
        cmap='YlGnBu',
        limits=(0.0, high),
        label='mean weight of the stage',
        title=f'{strategy}: what was chosen at each step',
    )


def _columns(summary: JsonObject) -> dict[str, dict[str, float]]:
    """Column name to {arm: mean score}."""
    tasks = summary['tasks']
    if len(tasks) > 1:
        return {
            task['task']: {a['arm']: a['mean']['estimate'] for a in task['arms'] if a['mean']}
            for task in tasks
        }
    return {}


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _positive_limits(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return 1e-3, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low / 2, low * 2)


def _heat(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    *,
    cmap: str,
    limits: tuple[float, float],
    label: str,
    title: str,
    logarithmic: bool = False,
):
    import matplotlib
    from matplotlib.colors import LogNorm, Normalize

    norm = (LogNorm if logarithmic else Normalize)(*limits)
    colours = matplotlib.colormaps[cmap].with_extremes(bad=LIGHT)
    longest = max(len(name) for name in columns)
    slanted = longest > 5
    width = 2.6 + 0.09 * max(len(name) for name in rows) + 0.62 * len(columns)
    height = 1.1 + 0.36 * len(rows) + (0.055 * longest if slanted else 0.15)
    figure = new_figure(max(4.6, width), max(2.4, height))
    axes = figure.add_subplot()
    image = axes.imshow(
        np.ma.masked_invalid(values), cmap=colours, norm=norm, aspect='auto', rasterized=True
    )
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            shade = image.cmap(norm(values[i, j])) if np.isfinite(values[i, j]) else (1, 1, 1, 1)
            # Relative luminance decides whether ink or white is legible on the cell.
            dark = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] < 0.5
            axes.text(
                j,
                i,
                text,
                ha='center',
                va='center',
                fontsize=8,
                color='white' if dark else INK,
            )
    axes.set_xticks(
        range(len(columns)),
        columns,
        rotation=45 if slanted else 0,
        ha='right' if slanted else 'center',
        rotation_mode='anchor' if slanted else None,
    )
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.spines[:].set_visible(False)
    # White lines between cells.
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which='minor', color='white', linewidth=1.5)
    axes.tick_params(which='minor', length=0)
    axes.set_title(title, loc='left', fontsize=9, color=INK)
    above, below = bool(np.nanmax(values) > limits[1]), bool(np.nanmin(values) < limits[0])
    extend = {(False, False): 'neither', (True, False): 'max', (False, True): 'min'}
    bar = figure.colorbar(
        image, ax=axes, pad=0.02, aspect=14, extend=extend.get((above, below), 'both')
    )
    bar.set_label(label, fontsize=8.5, color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, color=INK, which='both')
    return figure
