"""What a task of several labels says of its errors: mistakes, baselines and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.evaluation.calibration.calibration import binned
from ftjax.evaluation.metric import MetricValues
from ftjax.evaluation.mistakes import largest
from ftjax.evaluation.prediction_figures import calibration_figure
from ftjax.evaluation.predictions import check_class_names
from ftjax.tasks.error_analysis import Baseline, ErrorAnalysis, Picture
from ftjax.tasks.statistics import Statistics


class MultilabelErrors(ErrorAnalysis):
    """The error analysis of a task with any number of classes an example."""

    def columns(self, found: Statistics, class_names: Sequence[str]) -> dict[str, np.ndarray]:
        """How many classes an example has."""
        return {'classes of the example': found.rows['counts'][:, 2]}

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The examples of the highest loss: sure answers that are wrong."""
        if 'logits' not in found.rows:
            return []
        logits, true = found.rows['logits'], found.rows['true']
        losses = np.logaddexp(0, np.where(true == 1, -logits, logits)).mean(axis=1)
        answers = answers_of(found)
        wrong = np.flatnonzero((answers != (true > 0)).any(axis=1))
        names, made = check_class_names(class_names, true.shape[1]), []
        for i in largest(losses, limit, wrong):
            sure = [
                f'{name} {1 / (1 + np.exp(-z)):.2f}'
                for name, z, said, one in zip(names, logits[i], answers[i], true[i], strict=True)
                if said or one
            ]
            told = {k: ', '.join(v) for k, v in told_labels(answers[i], true[i], names).items()}
            place = {'id': str(ids[i]), 'position': int(i)}
            made.append(
                {**place, **told, 'probabilities': ', '.join(sure), 'loss': float(losses[i])}
            )
        return made

    def baselines(
        self,
        labels: np.ndarray,
        found: Statistics,
        class_names: Sequence[str],
        metrics: MetricValues,
    ) -> list[Baseline]:
        """Always the classes whose answer gives the highest micro F1 in training."""
        counts = np.asarray(labels).sum(axis=0)
        order = np.argsort(-counts, kind='stable')
        sizes = np.arange(1, len(order) + 1) * len(labels)
        best = int(np.argmax(2 * np.cumsum(counts[order]) / (sizes + counts.sum()))) + 1
        if 'true' not in found.rows:
            return []
        true = found.rows['true'] > 0
        answers = np.zeros(true.shape, bool)
        answers[:, order[:best]] = True
        sums = [(answers & true).sum(axis=1), answers.sum(axis=1), true.sum(axis=1)]
        names = check_class_names(class_names, true.shape[1])
        said = ', '.join(repr(names[i]) for i in order[: min(best, 3)])
        more = ' ..' if best > 3 else ''
        values = {
            'f1_micro': micro_f1(np.stack(sums, axis=1)),
            'exact_match': float((answers == true).all(axis=1).mean()),
            'hamming_loss': float((answers != true).mean()),
        }
        return [Baseline(f'always {said}{more}', values)]

    def pictures(
        self, found: Statistics, metrics: MetricValues, class_names: Sequence[str]
    ) -> list[Picture]:
        """How sure each answer is, class by class, and how often it is right."""
        if 'logits' not in found.rows:
            return []
        probability = 1 / (1 + np.exp(-found.rows['logits'].astype(np.float64).ravel()))
        sure = np.maximum(probability, 1 - probability)
        right = (probability > 0.5) == (found.rows['true'].ravel() > 0)
        return [
            Picture(
                'Reliability of the answers yes and no, of all classes together: where the bars '
                'lie below the diagonal, the network is surer than it is right.',
                calibration_figure(binned(sure, right), title='Accuracy by confidence'),
            )
        ]


def answers_of(found: Statistics) -> np.ndarray:
    """(n, classes) bool: what is answered, at 1/2 where no threshold decided."""
    return found.rows['answers'] if 'answers' in found.rows else found.rows['logits'] > 0


def told_labels(answered: np.ndarray, true: object, names: Sequence[str]) -> dict[str, Any]:
    """The names of the true classes, those answered, those missed and those made up."""
    held = np.asarray(true) > 0
    sets = {
        'labels': held,
        'predicted': answered,
        'missed': held & ~answered,
        'wrong': answered & ~held,
    }
    return {key: [names[int(c)] for c in np.flatnonzero(some)] for key, some in sets.items()}


def micro_f1(counts: np.ndarray) -> float:
    """Micro F1 from the classes found, answered and true of each example (n, 3)."""
    hits, answered, true = counts.sum(axis=0)
    return float(2 * hits / (answered + true)) if answered + true else 0.0
