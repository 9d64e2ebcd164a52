"""Pictures of an evaluation: confusion matrix and reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.evaluation.metric import MetricValues
from ftjax.io.json.json_values import JsonObject
from ftjax.printable import in_figure

INK = '#1f2933'
BLUE = '#1f5fa8'
GREY = '#9aa5b1'


def confusion_matrix_figure(metrics: MetricValues, title: str = ''):
    """Confusion matrix of `classification_metrics` as a matplotlib Figure.

    Numbers are examples, of few classes with the share of the true class below; left out where the
    cells grow too small for them.
    """
    matrix = np.asarray(metrics['confusion_matrix'])
    n, share = len(matrix), shares(matrix)
    texts = {}
    for row, column in zip(*np.nonzero(matrix), strict=True) if n <= 30 else ():
        percent = f'\n{100 * share[row, column]:.0f} %' if n <= 8 else ''
        texts[row, column] = f'{matrix[row, column]}{percent}'
    interval = metrics['accuracy_interval']
    bounds = ' [{:.3f}, {:.3f}]'.format(*interval) if interval else ''
    accuracy = f'accuracy {metrics["accuracy"]:.3f}{bounds}, n = {metrics["n"]}'
    size = float(np.clip(150 / n / max(2, len(str(matrix.max()))), 4.5, 10))
    names = [row['name'] for row in metrics['per_class']]
    return shares_figure(matrix, names, f'{title}\n{accuracy}' if title else accuracy, texts, size)


def shares(matrix: np.ndarray) -> np.ndarray:
    """A confusion matrix (true, answered) in shares of the true class: rows sum to 1."""
    return matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))


def shares_figure(
    matrix: np.ndarray,
    names: Sequence[str],
    title: str,
    texts: Mapping[tuple[int, int], str],
    size: float = 8.0,
):
    """A confusion matrix as a matplotlib Figure.

    Colour is the share of the true class, so that rare classes can be read.

    Args:
      matrix: (true, answered), of whatever is counted.
      names: one a class.
      title: above it.
      texts: what is written in cells.
      size: of these letters.
    """
    from matplotlib.figure import Figure

    share, n = shares(matrix), len(names)
    names = [_shortened(name) for name in names]
    side = float(np.clip(2.2 + 0.42 * n, 4.2, 14))
    figure = Figure(figsize=(side + 0.9, side), layout='constrained')
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
    every = max(1, n // 40)
    ticks = range(0, n, every)
    rotation = 0 if max(len(name) for name in names) <= 3 else 90
    axes.set_xticks(ticks, [names[i] for i in ticks], rotation=rotation)
    axes.set_yticks(ticks, [names[i] for i in ticks])
    for (row, column), text in texts.items():
        axes.text(
            column,
            row,
            text,
            ha='center',
            va='center',
            fontsize=size,
            color='white' if share[row, column] > 0.55 else INK,
        )
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class')
    axes.set_title(title, fontsize=10)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label('share of the true class')
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def calibration_figure(rows: Sequence[JsonObject], bins: int = 15, title: str = ''):
    """Accuracy against confidence over the number of examples, of `reliability` or `binned`."""
    from matplotlib.figure import Figure

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
    upper.set(ylabel='accuracy (share of examples)', ylim=(0, 1.02), xlim=(0, 1))
    # Outside: inside there is no corner that bars never reach.
    figure.legend(frameon=False, loc='outside upper right', ncols=2, fontsize=8)
    lower.bar(middles, [row['count'] for row in rows], 0.92 / bins, color=GREY)
    lower.set(xlabel='confidence: probability of the answer', ylabel='examples')
    _bare(upper, lower)
    if title:
        upper.set_title(title, fontsize=10)
    return figure


def threshold_figure(
    labels: np.ndarray, probability: np.ndarray, name: str, threshold: float = 0.5
):
    """What each threshold on the probability of the second of two classes gives; a Figure.

    Args:
      labels: 0 or 1 (n,), both of them present.
      probability: of class 1 (n,).
      name: of class 1.
      threshold: at which the network answers: it is marked.
    """
    import sklearn.metrics
    from matplotlib.figure import Figure

    metrics: Any = sklearn.metrics
    precision, recall, at = metrics.precision_recall_curve(labels, probability)
    false_rate, true_rate, _ = metrics.roc_curve(labels, probability)
    figure = Figure(figsize=(4.6, 5.6), layout='constrained')
    upper, lower = figure.subplots(2, 1)
    lines = (('precision', precision[:-1], BLUE, '-'), ('recall', recall[:-1], INK, '--'))
    for label, values, colour, dashes in lines:
        upper.plot(at, values, color=colour, linestyle=dashes, label=label)
    said = f'threshold {threshold:.3g}'
    upper.axvline(threshold, color=GREY, linewidth=1, linestyle=':', label=said)
    upper.set(
        xlabel=f'threshold on the probability of {_shortened(name)}',
        ylabel='share of examples',
        xlim=(0, 1),
    )
    upper.set_ylim(0, 1.02)
    upper.set_title('Precision and recall by threshold', fontsize=10, loc='left')
    upper.legend(frameon=False, fontsize=8)
    area = metrics.roc_auc_score(labels, probability)
    lower.plot(false_rate, true_rate, color=BLUE, label=f'network, area {area:.3f}')
    lower.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle='--', label='chance, area 0.5')
    lower.set(
        xlabel='false positive rate (share)', ylabel='true positive rate (share)', xlim=(0, 1)
    )
    lower.set_ylim(0, 1.02)
    lower.set_title('ROC curve', fontsize=10, loc='left')
    lower.legend(frameon=False, fontsize=8)
    _bare(upper, lower)
    return figure


def agreement_figure(targets: np.ndarray, predictions: np.ndarray):
    """Predictions (n,) against targets (n,), and how the errors are spread; a Figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 5.6), layout='constrained')
    upper, lower = figure.subplots(2, 1, height_ratios=(2, 1))
    ends = [
        float(min(targets.min(), predictions.min())),
        float(max(targets.max(), predictions.max())),
    ]
    upper.plot(ends, ends, color=GREY, linewidth=1, linestyle='--', label='no error')
    some = np.linspace(0, len(targets) - 1, min(len(targets), 3000)).astype(int)
    size = float(np.clip(400 / len(some), 2, 16))
    upper.scatter(targets[some], predictions[some], size, color=BLUE, alpha=0.5, linewidths=0)
    upper.set(xlabel='target (units of the label)', ylabel='prediction (units of the label)')
    upper.set_title('Predictions and targets', fontsize=10, loc='left')
    upper.legend(frameon=False, fontsize=8)
    lower.hist(predictions - targets, bins=min(40, 5 + len(targets) // 5), color=BLUE)
    lower.axvline(0, color=GREY, linewidth=1, linestyle='--')
    lower.set(xlabel='error: prediction minus target (units of the label)', ylabel='examples')
    lower.set_title('Errors', fontsize=10, loc='left')
    _bare(upper, lower)
    return figure


def spread_figure(values: np.ndarray, what: str, unit: str, title: str):
    """A histogram of a number of each unit (n,); a matplotlib Figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 2.8), layout='constrained')
    axes = figure.add_subplot()
    axes.hist(values, bins=min(40, 5 + len(values) // 5), color=BLUE)
    axes.axvline(values.mean(), color=INK, linewidth=1, linestyle='--', label='mean')
    axes.set(xlabel=what, ylabel=unit)
    axes.set_title(title, fontsize=10, loc='left')
    axes.legend(frameon=False, fontsize=8)
    _bare(axes)
    return figure


def _bare(*several: Any) -> None:
    for axes in several:
        axes.spines[['top', 'right']].set_visible(False)


def _shortened(name: str, limit: int = 18) -> str:
    return in_figure(name if len(name) <= limit else name[: limit - 1] + '…')
