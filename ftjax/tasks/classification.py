"""One class an example: cross-entropy, and metrics equal to scikit-learn's."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.labels.classes import Classes
from ftjax.errors import UserError
from ftjax.evaluation.auroc_interval import auroc_interval
from ftjax.evaluation.calibration.calibration import binned, calibration_gap
from ftjax.evaluation.calibration.conformal import prediction_sets
from ftjax.evaluation.calibration.probability_report import class_report, fit_classes
from ftjax.evaluation.example_scores import ExampleScores
from ftjax.evaluation.intervals import share_interval
from ftjax.evaluation.metric import LOG_LOSS, Metric, averages, error, share
from ftjax.evaluation.mistakes import confident_answers, confused_pairs
from ftjax.evaluation.prediction_figures import (
    calibration_figure,
    confusion_matrix_figure,
    threshold_figure,
)
from ftjax.evaluation.predictions import check_class_names, check_classification, softmax
from ftjax.evaluation.ranking import auroc, average_precision, log_odds, mean_of, sensitivity_at
from ftjax.evaluation.ratio import Ratio
from ftjax.printable import printable
from ftjax.tasks.answers import ANSWERS, AnswerOptions, Columns, class_columns
from ftjax.tasks.class_table import class_rows, class_table
from ftjax.tasks.error_analysis import Baseline, Picture
from ftjax.tasks.losses import cross_entropy
from ftjax.tasks.registry import task
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task, metric_line
from ftjax.tasks.threshold import Threshold, choose

_OF_RANKS = {'auroc', 'average_precision', 'sensitivity_at_95_specificity'}
_OF_PROBABILITIES = {'log_loss', 'ece', 'brier', 'top5_accuracy', *_OF_RANKS}
_OF_TWO_SAID = ('sensitivity', 'specificity')
_OF_TWO = {*_OF_TWO_SAID, 'sensitivity_at_95_specificity'}
_RANKED = 256
"""Most classes of which each is ranked against the rest."""
_SAID = (
    ('balanced_accuracy', 'balanced accuracy'),
    ('mcc', 'MCC'),
    ('auroc', 'AUROC'),
    ('average_precision', 'average precision'),
    ('top5_accuracy', 'top-5 accuracy'),
    ('log_loss', 'log loss'),
    ('ece', 'calibration error'),
    ('brier', 'Brier score'),
)


@task('classification')
class Classification(Task):
    """One class an example."""

    labels = Classes()
    metrics = (
        share('accuracy'),
        share('balanced_accuracy'),
        share('top5_accuracy', 'top-5 accuracy'),
        *averages('macro', 'weighted'),
        Metric(name='mcc', label='MCC', bounds=(-1.0, 1.0)),
        Metric(name='auroc', label='AUROC', bounds=(0.0, 1.0)),
        Metric(name='average_precision', bounds=(0.0, 1.0)),
        share('sensitivity'),
        share('specificity'),
        share('sensitivity_at_95_specificity', 'sensitivity at 95 % specificity'),
        LOG_LOSS,
        error('ece', 'calibration error', high=1.0),
        error('brier', 'Brier score', high=2.0),
    )
    default_metric = 'accuracy'
    noted = ('accuracy',)

    def losses(self, outputs: Array, batch: Batch, options: LossOptions) -> jax.Array:
        """Cross-entropy in nats: (B,) from logits (B, classes) and int32 labels (B,)."""
        return cross_entropy(outputs, batch['labels'], options.label_smoothing)

    counts_correct = True

    def correct(self, outputs: Array, batch: Batch) -> jax.Array:
        """Whether the highest logit is that of the label: float32 (B,)."""
        return (outputs.argmax(axis=-1) == batch['labels']).astype(jnp.float32)

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """The class and the answer; what its probabilities come to, where they are wanted."""
        check_classification(outputs, batch['labels'], batch['index'])
        label = batch['labels'].astype(np.int64)
        rows = {'label': label, 'predicted': outputs.argmax(axis=1)}
        if wanted is not None and not _OF_PROBABILITIES & set(wanted):
            return Statistics(rows)
        logits = outputs.astype(np.float64)
        with np.errstate(invalid='ignore', over='ignore'):  # outputs that are no numbers
            probabilities = softmax(logits)
            # From logits, not from probabilities: those underflow to 0 and make it infinite.
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_norm = np.log(np.exp(shifted).sum(axis=1))
        hot = np.zeros_like(logits)
        hot[np.arange(len(label)), label] = 1
        best = np.argsort(logits, axis=1, kind='stable')[:, ::-1][:, :5]
        rows |= {
            'log_loss': log_norm - shifted[np.arange(len(label)), label],
            'brier': ((probabilities - hot) ** 2).sum(axis=1),
            'confidence': probabilities.max(axis=1),
            'sure': probabilities.argmax(axis=1) == label,
            'top5': (best == label[:, None]).any(axis=1),
        }
        if logits.shape[1] <= _RANKED:
            rows['odds'] = log_odds(logits)
            rows['last'] = probabilities[:, -1]
        return Statistics(rows)

    def threshold(self, rule: str, found: Statistics) -> Threshold:
        """That on the probability of the second of two classes."""
        return choose(rule, found.rows['label'], found.rows['last'])

    def decided(self, found: Statistics, threshold: Threshold) -> Statistics:
        """The second of two classes is answered from the threshold on."""
        if found.outputs != 2:
            raise UserError(
                f'a decision threshold needs two classes; the network has {found.outputs}'
            )
        answers = (found.rows['last'] >= threshold).astype(np.int64)
        return dataclasses.replace(found, rows={**found.rows, 'predicted': answers})

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Every classification number that is reported.

        Averages over classes are scikit-learn's defaults: a class that neither occurs nor is
        predicted is left out of them, and a ratio of 0 to 0 counts as 0.

        `accuracy` with `accuracy_interval` (Wilson; over groups the bootstrap),
        `balanced_accuracy`, `top5_accuracy` (None below 6 classes), `precision_macro`,
        `recall_macro`, `f1_macro` and the same `_weighted`,
        `mcc`, `auroc` and `average_precision` (of the second of two classes; of more the mean
        over those that occur, each against the rest), `auroc_interval`, `log_loss` (nats),
        `ece` (15 bins),
        `brier`, `per_class` (name, precision, recall, f1, auroc, average_precision, support) and
        `confusion_matrix` (rows true, columns predicted, examples). Of two classes also
        `sensitivity` and `specificity` with intervals like that, and
        `sensitivity_at_95_specificity`. None for what is undefined: of one class alone.
        """
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
        result: dict[str, Any] = {'accuracy': correct / n}
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

    def ratio(self, found: Statistics) -> Ratio:
        """Accuracy."""
        right = (found.rows['label'] == found.rows['predicted']).astype(np.float64)
        return Ratio(self.metrics[0], right, np.ones(len(right)))

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

    def confusions(self, metrics: Mapping[str, Any], limit: int = 10) -> list[dict[str, Any]]:
        """The pairs of classes that are taken for one another."""
        return confused_pairs(dict(metrics), limit) if 'confusion_matrix' in metrics else []

    def baselines(
        self,
        labels: np.ndarray,
        found: Statistics,
        class_names: Sequence[str],
        metrics: Mapping[str, Any],
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
        self, found: Statistics, metrics: Mapping[str, Any], class_names: Sequence[str]
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
            said = '0.5' if chosen is None else f'{chosen:.4g}, chosen before (train.threshold)'
            more = ' A threshold is chosen on validation data.' if chosen is None else ''
            made.append(
                Picture(
                    f'What another threshold on the probability of {name!r} would give; the '
                    f'network answers at {said}.{more}',
                    threshold_figure(rows['label'], chances, name, chosen or 0.5),
                )
            )
        return made

    def obstacle(self, name: str, outputs: int) -> str:
        """The number of classes, where it is too small or too large."""
        if name == 'top5_accuracy' and outputs < 6:
            return f'with {outputs} classes; expected 6 classes or more'
        if name in _OF_TWO and outputs != 2:
            return f'with {outputs} classes; expected two'
        if name in _OF_RANKS and outputs > _RANKED:
            return f'with {outputs} classes; expected {_RANKED} or fewer'
        return ''

    def example_scores(self, found: Statistics) -> ExampleScores:
        """Whether each answer is right."""
        right = found.rows['label'] == found.rows['predicted']
        return ExampleScores(metric='accuracy', values=right)

    def example(self, output: np.ndarray, label: Any, class_names: Sequence[str]) -> dict[str, Any]:
        """The class, the answer, and the probability of both."""
        names, probabilities = check_class_names(class_names, len(output)), softmax(output)
        best = int(np.argmax(output))
        return {
            'label': names[int(label)],
            'predicted': names[best],
            'confidence': float(probabilities[best]),
            'label_probability': float(probabilities[int(label)]),
        }

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """`predicted` and its `probability`; `set`, the `top` ones and `p:CLASS` as asked for."""
        names = check_class_names(class_names, outputs.shape[1])
        probabilities = softmax(outputs.astype(np.float64) / options.temperature)
        best = outputs.argmax(axis=1)
        if options.threshold is not None:
            if len(names) != 2:
                raise UserError(f'a threshold needs two classes; the network has {len(names)}')
            own = (
                softmax(outputs.astype(np.float64)) if options.before_temperature else probabilities
            )
            best = (own[:, 1] >= options.threshold).astype(np.int64)
        columns: Columns = {
            'predicted': [names[c] for c in best],
            'probability': probabilities[np.arange(len(best)), best],
        }
        if options.nonconformity is not None:
            # Nothing that was fitted on the same examples may enter the sets.
            sets = prediction_sets(softmax(outputs), options.nonconformity)
            columns['set'] = ['|'.join(names[c] for c in np.flatnonzero(row)) for row in sets]
        return columns | class_columns(probabilities, names, options)

    def calibration(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Temperature, a threshold of two classes, quantiles of prediction sets."""
        check_classification(outputs, labels)
        return fit_classes(outputs.astype(np.float64), labels)

    def reliability(
        self, outputs: np.ndarray, labels: np.ndarray, fitted: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """See `class_report`."""
        return class_report(outputs, labels, fitted)

    def text(self, metrics: Mapping[str, Any]) -> str:
        """Per-class rows with averages below, like scikit-learn's classification_report."""
        columns = ('precision', 'recall', 'f1')
        lines = class_table(metrics, columns, ('macro', 'weighted'))
        lines.append(metric_line(metrics, 'accuracy', 'accuracy', '.4f'))
        if metrics.get('sensitivity') is not None and metrics.get('specificity') is not None:
            if metrics.get('threshold') is not None:
                second = printable(metrics['per_class'][1]['name'])
                lines.append(f'{second} from a probability of {metrics["threshold"]:.4g} on')
            lines += [metric_line(metrics, name, name, '.4f') for name in _OF_TWO_SAID]
        if metrics.get('auroc_interval') is not None:
            lines.append(metric_line(metrics, 'auroc', 'AUROC', '.4f'))
        known = [
            (label, metrics[k])
            for k, label in _SAID
            if metrics.get(k) is not None and metrics.get(f'{k}_interval') is None
        ]
        return '\n'.join([*lines, ', '.join(f'{label} {value:.4f}' for label, value in known)])


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
