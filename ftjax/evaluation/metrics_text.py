"""Metrics as text tables for a terminal."""

from __future__ import annotations

from typing import Any

from ftjax.errors import UserError
from ftjax.printable import printable

SUMMARY = (
    ('balanced_accuracy', 'balanced accuracy'),
    ('top5_accuracy', 'top-5 accuracy'),
    ('log_loss', 'log loss'),
    ('ece', 'calibration error'),
    ('brier', 'Brier score'),
)


def metrics_text(metrics: dict[str, Any], where: str = '') -> str:
    """The table of what `evaluate`, or `masked_token_metrics`, found.

    Args:
      metrics: as they were made, or read from a file.
      where: which file, for the error.

    Raises:
      UserError: metrics of a file lack something, or hold something of another type.
    """
    if not where:
        return _text(metrics)
    try:
        return _text(metrics)
    except KeyError as error:
        missing = error.args[0]
        raise UserError(f'{where} have no {missing!r}; not of an evaluation') from None
    except (TypeError, ValueError, AttributeError) as error:
        told = ' '.join(str(error).split())
        raise UserError(f'{where} are not of an evaluation: {told}') from None


def _text(metrics: dict[str, Any]) -> str:
    if metrics.get('n') == 0:
        return 'there is no test split: nothing was measured on held-out examples'
    if metrics['task'] == 'masked_tokens':
        return masked_token_text(metrics)
    if 'per_class' in metrics:
        metrics = {**metrics, 'per_class': [shown(row) for row in metrics['per_class']]}
    if metrics['task'] == 'multilabel':
        return multilabel_text(metrics)
    if metrics['task'] == 'regression':
        return regression_text(metrics)
    return classification_text(metrics)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a class with its name as a terminal shows it."""
    return {**row, 'name': printable(row['name'])}


def classification_text(metrics: dict[str, Any], max_classes: int = 50) -> str:
    """Per-class rows with averages below, laid out like scikit-learn's classification_report.

    Args:
      metrics: from `classification_metrics`.
      max_classes: beyond so many only the classes with the lowest F1 are listed.
    """
    rows = metrics['per_class']
    heading = None
    if len(rows) > max_classes:
        heading = f'the {max_classes} of {len(rows)} classes with the lowest F1'
        rows = sorted(rows, key=lambda row: row['f1'])[:max_classes]
    width = max(len('weighted mean'), *(len(row['name']) for row in rows))
    lines = [heading] if heading else []
    lines.append(' ' * width + ' precision    recall        f1  examples')
    lines += [
        f'{row["name"]:>{width}}'
        f'{row["precision"]:10.3f}{row["recall"]:10.3f}{row["f1"]:10.3f}{row["support"]:10d}'
        for row in rows
    ]
    lines.append('')
    for average in ('macro', 'weighted'):
        values = [metrics[f'{name}_{average}'] for name in ('precision', 'recall', 'f1')]
        numbers = ''.join(f'{value:10.3f}' for value in values)
        lines.append(f'{average + " mean":>{width}}{numbers}{metrics["n"]:10d}')
    lines.append('')
    low, high = metrics['accuracy_interval']
    lines.append(f'accuracy {metrics["accuracy"]:.4f}, 95 % interval {low:.4f} to {high:.4f}')
    others = [f'{label} {metrics[k]:.4f}' for k, label in SUMMARY if metrics[k] is not None]
    lines.append(', '.join(others))
    return '\n'.join(lines)


def regression_text(metrics: dict[str, Any]) -> str:
    """One line a metric, with intervals where there are any."""
    lines = [f'examples  {metrics["n"]}']
    for name in ('mse', 'rmse', 'mae', 'r2', 'pearson', 'spearman'):
        value = metrics[name]
        line = f'{name:<9} ' + ('undefined' if value is None else f'{value:.6g}')
        interval = metrics.get(f'{name}_interval')
        if interval is not None:
            line += f', 95 % interval {interval[0]:.6g} to {interval[1]:.6g}'
        lines.append(line)
    return '\n'.join(lines)


def masked_token_text(metrics: dict[str, Any]) -> str:
    """Loss and accuracy with their intervals, and the loss that knows only frequencies."""
    lines = [f'hidden tokens  {metrics["n"]}']
    for name in ('loss', 'accuracy'):
        line = f'{name:<14} {metrics[name]:.4f}'
        if metrics[f'{name}_interval'] is not None:
            low, high = metrics[f'{name}_interval']
            line += f', 95 % interval {low:.4f} to {high:.4f}'
        lines.append(line)
    lines.append(f'perplexity     {metrics["perplexity"]:.2f}')
    lines.append(f'by frequencies {metrics["unigram_entropy"]:.4f} (their entropy, nats)')
    return '\n'.join(lines)


def multilabel_text(metrics: dict[str, Any], max_classes: int = 50) -> str:
    """Per-class rows, the averages below, and the numbers over whole examples."""
    rows = sorted(metrics['per_class'], key=lambda row: row['f1'])[:max_classes]
    listed = [row for row in metrics['per_class'] if row in rows]
    width = max(len('micro mean'), *(len(row['name']) for row in listed))
    columns = ('precision', 'recall', 'f1', 'average_precision')
    lines = [' ' * width + ' precision    recall        f1  avg prec  examples']
    for row in listed:
        numbers = ''.join(_number(row[column]) for column in columns)
        lines.append(f'{row["name"]:>{width}}{numbers}{row["support"]:10d}')
    if len(listed) < len(metrics['per_class']):
        lines[0:0] = [
            f'the {max_classes} of {len(metrics["per_class"])} classes with the lowest F1'
        ]
    lines.append('')
    for average in ('micro', 'macro'):
        numbers = ''.join(_number(metrics[f'{column}_{average}']) for column in columns)
        lines.append(f'{average + " mean":>{width}}{numbers}{metrics["n"]:10d}')
    lines.append('')
    for name, label in (('f1_micro', 'micro F1'), ('exact_match', 'all labels right')):
        line = f'{label} {metrics[name]:.4f}'
        if metrics[f'{name}_interval'] is not None:
            low, high = metrics[f'{name}_interval']
            line += f', 95 % interval {low:.4f} to {high:.4f}'
        lines.append(line)
    lines.append(f'Hamming loss {metrics["hamming_loss"]:.4f}, log loss {metrics["log_loss"]:.4f}')
    return '\n'.join(lines)


def _number(value: float | None) -> str:
    return f'{"-":>10}' if value is None else f'{value:10.3f}'


def confusion_text(metrics: dict[str, Any], max_classes: int = 20) -> str:
    """The confusion matrix as text (rows true, columns predicted); a note when too wide."""
    matrix = metrics['confusion_matrix']
    names = [printable(row['name']) for row in metrics['per_class']]
    if len(names) > max_classes:
        return f'confusion matrix of {len(names)} classes: see the picture confusion_SPLIT.png'
    # Columns carry short names, so that ten classes fit a terminal.
    short = [name[:7] for name in names]
    corner = 'true \\ predicted'
    width = max(len(name) for name in [*names, corner])
    cell = max(4, *(len(name) for name in short), *(len(str(n)) for row in matrix for n in row))
    lines = [f'{corner:>{width}} ' + ' '.join(f'{n:>{cell}}' for n in short)]
    lines += [
        f'{name:>{width}} ' + ' '.join(f'{count:>{cell}d}' for count in row)
        for name, row in zip(names, matrix, strict=True)
    ]
    return '\n'.join(lines)
