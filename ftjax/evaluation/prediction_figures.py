"""Pictures of an evaluation: confusion matrix and reliability diagram."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftjax.evaluation.calibration import reliability
from ftjax.evaluation.predictions import softmax
from ftjax.printable import in_figure

INK = '#1f2933'
BLUE = '#1f5fa8'
GREY = '#9aa5b1'


def confusion_matrix_figure(metrics: dict[str, Any], title: str = ''):
    """Confusion matrix of `classification_metrics` as a matplotlib Figure.

    Colour is the share of the true class (rows sum to 1), so that rare classes can be read;
    numbers are examples, left out where the cells grow too small for them.
    """
    from matplotlib.figure import Figure

    matrix = np.asarray(metrics['confusion_matrix'])
    names = [_shortened(row['name']) for row in metrics['per_class']]
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    n = len(names)
    side = float(np.clip(2.2 + 0.42 * n, 4.2, 14))
    figure = Figure(figsize=(side + 0.9, side), layout='constrained')
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
    every = max(1, n // 40)
    ticks = range(0, n, every)
    rotation = 0 if max(len(name) for name in names) <= 3 else 90
    axes.set_xticks(ticks, [names[i] for i in ticks], rotation=rotation)
    axes.set_yticks(ticks, [names[i] for i in ticks])
    if n <= 30:
        size = float(np.clip(150 / n / max(2, len(str(matrix.max()))), 4.5, 10))
        for row, column in zip(*np.nonzero(matrix), strict=True):
            axes.text(
                column,
                row,
                str(matrix[row, column]),
                ha='center',
                va='center',
                fontsize=size,
                color='white' if share[row, column] > 0.55 else INK,
            )
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class')
    interval = metrics['accuracy_interval']
    bounds = ' [{:.3f}, {:.3f}]'.format(*interval) if interval else ''
    accuracy = f'accuracy {metrics["accuracy"]:.3f}{bounds}, n = {metrics["n"]}'
    axes.set_title(f'{title}\n{accuracy}' if title else accuracy, fontsize=10)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label('share of the true class')
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def reliability_figure(logits: np.ndarray, labels: np.ndarray, bins: int = 15, title: str = ''):
    """Accuracy against confidence with the number of examples below; a matplotlib Figure."""
    from matplotlib.figure import Figure

    rows = reliability(softmax(logits), np.asarray(labels), bins)
    figure = Figure(figsize=(4.6, 5.0), layout='constrained')
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middles = [(row['low'] + row['high']) / 2 for row in rows]
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle='--', label='calibrated')
    upper.bar(middles, [row['accuracy'] for row in rows], 0.92 / bins, color=BLUE, alpha=0.85)
    upper.plot(
        [row['confidence'] for row in rows],
        [row['accuracy'] for row in rows],
        color=INK,
        marker='o',
        markersize=3.5,
        linewidth=1,
        label='bin means',
    )
    upper.set(ylabel='accuracy', ylim=(0, 1.02), xlim=(0, 1))
    # Outside: inside there is no corner that bars never reach.
    figure.legend(frameon=False, loc='outside upper right', ncols=2, fontsize=8)
    lower.bar(middles, [row['count'] for row in rows], 0.92 / bins, color=GREY)
    lower.set(xlabel='confidence', ylabel='examples')
    for axes in (upper, lower):
        axes.spines[['top', 'right']].set_visible(False)
    if title:
        upper.set_title(title, fontsize=10)
    return figure


def _shortened(name: str, limit: int = 18) -> str:
    return in_figure(name if len(name) <= limit else name[: limit - 1] + '…')
