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
from ftjax.evaluation.calibration import calibration_gap
from ftjax.evaluation.intervals import wilson_interval
from ftjax.evaluation.metric import LOG_LOSS, Metric, averages, error, share
from ftjax.evaluation.predictions import check_class_names, check_classification, softmax
from ftjax.evaluation.ranking import auroc, average_precision, log_odds, mean_of, sensitivity_at
from ftjax.printable import printable
from ftjax.tasks.class_table import class_rows, class_table
from ftjax.tasks.losses import cross_entropy
from ftjax.tasks.registry import task
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task, metric_line

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

    def decided(self, found: Statistics, threshold: float) -> Statistics:
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

        `accuracy` with `accuracy_interval` (Wilson), `balanced_accuracy`, `top5_accuracy` (None
        below 6 classes), `precision_macro`, `recall_macro`, `f1_macro` and the same `_weighted`,
        `mcc`, `auroc` and `average_precision` (of the second of two classes; of more the mean
        over those that occur, each against the rest), `log_loss` (nats), `ece` (15 bins),
        `brier`, `per_class` (name, precision, recall, f1, auroc, average_precision, support) and
        `confusion_matrix` (rows true, columns predicted, examples). Of two classes also
        `sensitivity` and `specificity` with intervals (Wilson), and
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
            result['accuracy_interval'] = list(wilson_interval(correct, n))
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
        for name, c in (('sensitivity', 1), ('specificity', 0)):
            known = classes == 2 and occurs[c]
            result[name] = float(each['recall'][c]) if known else None
            if known and wanted is None:
                result[f'{name}_interval'] = list(wilson_interval(hits[c], support[c]))
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

    def obstacle(self, name: str, outputs: int) -> str:
        """The number of classes, where it is too small or too large."""
        if name == 'top5_accuracy' and outputs < 6:
            return f'with {outputs} classes; expected 6 classes or more'
        if name in _OF_TWO and outputs != 2:
            return f'with {outputs} classes; expected two'
        if name in _OF_RANKS and outputs > _RANKED:
            return f'with {outputs} classes; expected {_RANKED} or fewer'
        return ''

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

    def text(self, metrics: Mapping[str, Any]) -> str:
        """Per-class rows with averages below, like scikit-learn's classification_report."""
        columns = ('precision', 'recall', 'f1')
        lines = class_table(metrics, columns, ('macro', 'weighted'))
        low, high = metrics['accuracy_interval']
        lines.append(f'accuracy {metrics["accuracy"]:.4f}, 95 % interval {low:.4f} to {high:.4f}')
        if metrics.get('sensitivity') is not None and metrics.get('specificity') is not None:
            if metrics.get('threshold') is not None:
                second = printable(metrics['per_class'][1]['name'])
                lines.append(f'{second} from a probability of {metrics["threshold"]:.4g} on')
            lines += [metric_line(metrics, name, name, '.4f') for name in _OF_TWO_SAID]
        known = [(label, metrics[k]) for k, label in _SAID if metrics.get(k) is not None]
        return '\n'.join([*lines, ', '.join(f'{label} {value:.4f}' for label, value in known)])


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
