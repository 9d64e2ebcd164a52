"""The numbers of a classification, from what its statistics hold of each example."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ftjax.evaluation.auroc_interval import auroc_interval
from ftjax.evaluation.calibration.calibration import calibration_gap
from ftjax.evaluation.intervals import share_interval
from ftjax.evaluation.predictions import check_class_names
from ftjax.evaluation.ranking import auroc, average_precision, mean_of, sensitivity_at
from ftjax.evaluation.ranking_bootstrap import average_precision_interval, sensitivity_interval
from ftjax.tasks.classes.class_table import class_rows
from ftjax.tasks.statistics import Statistics


def class_metrics(
    found: Statistics, class_names: Sequence[str], wanted: Collection[str] | None
) -> dict[str, object]:
    """Every number that `Classification.values` describes; without intervals if some are wanted."""
    rows, classes, n = found.rows, found.outputs, len(found)
    names = check_class_names(class_names, classes) if wanted is None else ()
    label, predicted = rows['label'], rows['predicted']
    right = label == predicted
    correct = int(right.sum())
    support = np.bincount(label, minlength=classes)
    answers = np.bincount(predicted, minlength=classes)
    hits = np.bincount(label[right], minlength=classes)
    each: dict[str, Any] = {
        'precision': _ratio(hits, answers),
        'recall': _ratio(hits, support),
        'f1': _ratio(2 * hits, answers + support),
    }
    occurs = support > 0
    result: dict[str, object] = {'accuracy': correct / n}
    if wanted is None:
        result['accuracy_interval'] = share_interval(right, rows.get('group'))
    result['balanced_accuracy'] = float(np.mean(each['recall'][occurs]))
    if 'top5' in rows:
        result['top5_accuracy'] = float(rows['top5'].mean()) if classes > 5 else None
    for average, weights in (('macro', (support + answers) > 0), ('weighted', support)):
        for name in ('precision', 'recall', 'f1'):
            numbers = each[name]
            result[f'{name}_{average}'] = float(np.average(numbers, weights=weights))
    result['mcc'] = _mcc(hits.sum(), answers, support)
    if 'odds' in rows:
        each |= {
            'auroc': auroc(rows['odds'], label),
            'average_precision': average_precision(rows['odds'], label),
        }
    for name in ('auroc', 'average_precision') if 'odds' in rows else ():
        result[name] = each[name][1] if classes == 2 else mean_of(each[name])
    if 'odds' in rows and wanted is None:
        result['auroc_interval'] = auroc_interval(
            rows['odds'][:, -1:] if classes == 2 else rows['odds'],
            label[:, None] == (np.ones(1) if classes == 2 else np.arange(classes)),
            rows.get('group'),
        )
        if classes == 2:
            result['average_precision_interval'] = average_precision_interval(
                rows['odds'][:, 1], label == 1, rows.get('group')
            )
    for name, c in (('sensitivity', 1), ('specificity', 0)):
        known = classes == 2 and occurs[c]
        result[name] = float(each['recall'][c]) if known else None
        if known and wanted is None:
            of, group = label == c, rows.get('group')
            result[f'{name}_interval'] = share_interval(
                right[of], None if group is None else group[of]
            )
    if 'odds' in rows:
        positive = label == 1
        result['sensitivity_at_95_specificity'] = (
            sensitivity_at(0.95, rows['odds'][:, 1], positive) if classes == 2 else None
        )
        if classes == 2 and wanted is None:
            result['sensitivity_at_95_specificity_interval'] = sensitivity_interval(
                0.95, rows['odds'][:, 1], positive, rows.get('group')
            )
    if 'log_loss' in rows:
        result['log_loss'] = float(rows['log_loss'].mean())
        result['ece'] = calibration_gap(rows['confidence'], rows['sure'])
        result['brier'] = float(rows['brier'].mean())
    if wanted is not None:
        return result
    result['per_class'] = class_rows(names, each, support)
    matrix = np.bincount(label * classes + predicted, minlength=classes**2)
    result['confusion_matrix'] = matrix.reshape(classes, classes).tolist()
    return result


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Of counts; 0 where both are 0."""
    return np.where(below > 0, above / np.maximum(below, 1), 0.0)


def _mcc(hits: int, answers: np.ndarray, support: np.ndarray) -> float | None:
    """Matthews' correlation of answers and labels; None where there is one class alone.

    0 where every answer is the same. Source: Gorodkin 2004,
    10.1016/j.compbiolchem.2004.09.006, from counts of each class.
    """
    n = float(support.sum())
    spread = n**2 - float((support**2).sum())
    if not spread:
        return None
    below = spread * (n**2 - float((answers**2).sum()))
    return float((hits * n - (answers * support).sum()) / below**0.5) if below else 0.0
