"""One class an example: cross-entropy, and metrics equal to scikit-learn's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.labels.classes import Classes
from ftjax.evaluation.calibration import calibration_gap
from ftjax.evaluation.example_scores import ExampleScores
from ftjax.evaluation.intervals import wilson_interval
from ftjax.evaluation.metric import LOG_LOSS, averages, error, share
from ftjax.evaluation.predictions import check_class_names, check_classification, softmax
from ftjax.tasks.class_table import class_rows, class_table
from ftjax.tasks.losses import cross_entropy
from ftjax.tasks.registry import task
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task

_OF_PROBABILITIES = {'log_loss', 'ece', 'brier', 'top5_accuracy'}
_SAID = (
    ('balanced_accuracy', 'balanced accuracy'),
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
        return Statistics(rows)

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
        `log_loss` (nats), `ece` (15 bins), `brier`, `per_class` (name, precision, recall, f1,
        support) and `confusion_matrix` (rows true, columns predicted, examples).
        """
        rows, classes, n = found.rows, found.outputs, len(found)
        names = check_class_names(class_names, classes) if wanted is None else ()
        label, predicted = rows['label'], rows['predicted']
        right = label == predicted
        correct = int(right.sum())
        support = np.bincount(label, minlength=classes)
        answers = np.bincount(predicted, minlength=classes)
        hits = np.bincount(label[right], minlength=classes)
        each = {
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
            for name, numbers in each.items():
                result[f'{name}_{average}'] = float(np.average(numbers, weights=weights))
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
        """Of the best five of fewer than six."""
        few = name == 'top5_accuracy' and outputs < 6
        return f'with {outputs} classes; expected 6 classes or more' if few else ''

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

    def text(self, metrics: Mapping[str, Any]) -> str:
        """Per-class rows with averages below, like scikit-learn's classification_report."""
        columns = ('precision', 'recall', 'f1')
        lines = class_table(metrics, columns, ('macro', 'weighted'))
        low, high = metrics['accuracy_interval']
        lines.append(f'accuracy {metrics["accuracy"]:.4f}, 95 % interval {low:.4f} to {high:.4f}')
        others = [f'{label} {metrics[k]:.4f}' for k, label in _SAID if metrics[k] is not None]
        return '\n'.join([*lines, ', '.join(others)])


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Of counts; 0 where both are 0."""
    return np.where(below > 0, above / np.maximum(below, 1), 0.0)
