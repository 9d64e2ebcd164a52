"""What a classification says of its errors: mistakes, confusions, baselines and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.evaluation.calibration.calibration import binned
from ftjax.evaluation.metric import MetricValues
from ftjax.evaluation.mistakes import confident_answers, confused_pairs
from ftjax.evaluation.prediction_figures import (
    calibration_figure,
    confusion_matrix_figure,
    threshold_figure,
)
from ftjax.evaluation.predictions import check_class_names
from ftjax.tasks.error_analysis import Baseline, ErrorAnalysis, Picture
from ftjax.tasks.statistics import Statistics


class ClassErrors(ErrorAnalysis):
    """The error analysis of a task with one class an example."""

    def columns(self, found: Statistics, class_names: Sequence[str]) -> dict[str, np.ndarray]:
        """The true class."""
        names = np.asarray(check_class_names(class_names, found.outputs), object)
        return {'class': names[found.rows['label']]}

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The wrong answers that the network was most sure of."""
        rows, names = found.rows, check_class_names(class_names, found.outputs)
        both = _answered(rows), np.exp(-rows['log_loss'])
        return confident_answers(rows['label'], rows['predicted'], *both, ids, names, limit)

    def confusions(self, metrics: MetricValues, limit: int = 10) -> list[dict[str, Any]]:
        """The pairs of classes that are taken for one another."""
        return confused_pairs(dict(metrics), limit) if 'confusion_matrix' in metrics else []

    def baselines(
        self,
        labels: np.ndarray,
        found: Statistics,
        class_names: Sequence[str],
        metrics: MetricValues,
    ) -> list[Baseline]:
        """A guess without looking, and always the most frequent class of training.

        The log loss of the second is that of the classes' frequencies in training, each class
        counted once more (Laplace), so that it is finite.
        """
        classes, tested = found.outputs, found.rows['label']
        counts = np.bincount(labels.astype(np.int64), minlength=classes)
        most, occur = int(counts.argmax()), len(np.unique(tested))
        frequencies = (counts + 1) / (counts + 1).sum()
        name = check_class_names(class_names, classes)[most]
        even = {'accuracy': 1 / classes, 'balanced_accuracy': 1 / classes}
        always = {
            'accuracy': float((tested == most).mean()),
            'balanced_accuracy': float((tested == most).any()) / occur,
            'log_loss': float(-np.log(frequencies[tested]).mean()),
        }
        return [
            Baseline('chance', {**even, 'log_loss': float(np.log(classes))}),
            Baseline(f'always {name!r}', always),
        ]

    def pictures(
        self, found: Statistics, metrics: MetricValues, class_names: Sequence[str]
    ) -> list[Picture]:
        """Confusion matrix, reliability diagram and, of two classes, the curves of a threshold."""
        rows, made = found.rows, []
        if 2 <= found.outputs <= 100:
            made.append(
                Picture(
                    'Examples by true and predicted class; colour, and percent where it is '
                    'written, is the share of the true class.',
                    confusion_matrix_figure(dict(metrics), 'Confusion matrix'),
                )
            )
        bins = binned(rows['confidence'], rows['sure'])
        made.append(
            Picture(
                'Reliability: where the bars lie below the diagonal, the network is surer than '
                'it is right.',
                calibration_figure(bins, title='Accuracy by confidence'),
            )
        )
        if found.outputs == 2 and len(np.unique(rows['label'])) == 2:
            chances, name = _second(rows), check_class_names(class_names, 2)[1]
            chosen = metrics.get('threshold')
            at = 0.5 if chosen is None else chosen
            said = '0.5' if chosen is None else f'{chosen:.4g}, chosen before (train.threshold)'
            more = ' A threshold is chosen on validation data.' if chosen is None else ''
            made.append(
                Picture(
                    f'What another threshold on the probability of {name!r} would give; the '
                    f'network answers at {said}.{more}',
                    threshold_figure(rows['label'], chances, name, at),
                )
            )
        return made


def _second(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """The probability of the second of two classes (n,)."""
    if 'last' in rows:
        return rows['last']
    return np.where(rows['predicted'] == 1, rows['confidence'], 1 - rows['confidence'])


def _answered(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """The probability of the class that is answered (n,): with a threshold not the largest."""
    if 'odds' not in rows or rows['odds'].shape[1] != 2:
        return rows['confidence']
    last = _second(rows)
    return np.where(rows['predicted'] == 1, last, 1 - last)
