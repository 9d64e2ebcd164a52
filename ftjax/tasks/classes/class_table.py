"""Numbers of each class: as rows of a result, as a table, and the confusion matrix as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftjax.evaluation.metric import MetricValues
from ftjax.io.json.json_values import JsonObject
from ftjax.printable import printable

_HEADS = {'average_precision': 'avg prec', 'boundary_f1': 'boundary'}


def class_rows(
    names: Sequence[str], columns: JsonObject, support: np.ndarray
) -> list[dict[str, object]]:
    """One dict a class: `name`, its numbers, `support` (examples), ready for JSON."""
    return [
        {
            'name': name,
            **{key: None if v[c] is None else float(v[c]) for key, v in columns.items()},
            'support': int(support[c]),
        }
        for c, name in enumerate(names)
    ]


def class_table(
    metrics: MetricValues,
    columns: Sequence[str],
    averages: Sequence[str],
    max_classes: int = 50,
) -> list[str]:
    """Lines: a row a class, an empty one, the averages over classes, an empty one.

    Of more than `max_classes` classes the `lowest_classes` are listed.
    """
    rows: list[JsonObject] = [
        {**row, 'name': printable(row['name'])} for row in metrics['per_class']
    ]
    lines = []
    if len(rows) > max_classes:
        count = len(rows)
        rows, label = lowest_classes(rows, columns, max_classes)
        lines.append(f'the {max_classes} of {count} classes with the lowest {label}')
    means = [f'{average} mean' for average in averages]
    width = max(map(len, [*means, *(row['name'] for row in rows)]))
    heads = [_HEADS.get(column, column) for column in columns]
    lines.append(' ' * width + ''.join(f'{head:>10}' for head in [*heads, 'examples']))
    for row in rows:
        numbers = ''.join(_number(row[column]) for column in columns)
        lines.append(f'{row["name"]:>{width}}{numbers}{row["support"]:10d}')
    lines.append('')
    for average, mean in zip(averages, means, strict=True):
        numbers = ''.join(_number(metrics[f'{column}_{average}']) for column in columns)
        lines.append(f'{mean:>{width}}{numbers}{metrics["n"]:10d}')
    return [*lines, '']


def lowest_classes(
    rows: Sequence[JsonObject], columns: Sequence[str], count: int
) -> tuple[list[JsonObject], str]:
    """So many rows, the lowest first, and the name of the number that decides.

    It is F1, or the first column of a table without. What is undefined, as of a class that occurs
    nowhere, comes last.
    """
    by = 'f1' if 'f1' in columns else columns[0]
    ranked = sorted(rows, key=lambda row: (row[by] is None, row[by] or 0))
    return ranked[:count], {'f1': 'F1', 'iou': 'IoU'}.get(by, by)


def _number(value: float | None) -> str:
    return f'{"-":>10}' if value is None else f'{value:10.3f}'


def confusion_text(metrics: MetricValues, max_classes: int = 20) -> str:
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
