"""One class an example: cross-entropy, and metrics equal to scikit-learn's."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from ftjax.data.labels.classes import Classes
from ftjax.errors import UserError
from ftjax.evaluation.calibration.conformal import prediction_sets
from ftjax.evaluation.calibration.probability_report import class_report, fit_classes
from ftjax.evaluation.decisions import one_class
from ftjax.evaluation.example_scores import ExampleScores
from ftjax.evaluation.metric import LOG_LOSS, Metric, MetricValues, averages, error, share
from ftjax.evaluation.predictions import check_class_names, check_classification, softmax
from ftjax.evaluation.ranking import log_odds
from ftjax.evaluation.ratio import Ratio
from ftjax.io.json.json_values import JsonObject
from ftjax.printable import printable
from ftjax.tasks.answers import ANSWERS, CLASS_PIPELINES, AnswerOptions, Columns, class_columns
from ftjax.tasks.classes.class_errors import ClassErrors
from ftjax.tasks.classes.class_metrics import class_metrics
from ftjax.tasks.classes.class_table import class_table
from ftjax.tasks.losses import cross_entropy
from ftjax.tasks.registry import task
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task, metric_line
from ftjax.tasks.threshold import Threshold, choose

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Int

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
    ('sensitivity_at_95_specificity', 'sensitivity at 95 % specificity'),
    ('top5_accuracy', 'top-5 accuracy'),
    ('log_loss', 'log loss'),
    ('ece', 'calibration error'),
    ('brier', 'Brier score'),
)


@task('classification')
class Classification(ClassErrors, Task):
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
    activation = 'softmax'
    pipelines = CLASS_PIPELINES
    problem_type = 'single_label_classification'
    loss_unit = 'nats'
    noted = ('accuracy',)

    def losses(
        self, outputs: Float[Array, 'batch classes'], batch: Batch, options: LossOptions
    ) -> Float[Array, ' batch']:
        """Cross-entropy in nats, of int32 labels (batch,)."""
        return cross_entropy(outputs, batch['labels'], options.label_smoothing)

    counts_correct = True

    def correct(
        self, outputs: Float[Array, 'batch classes'], batch: Batch
    ) -> Float32[Array, ' batch']:
        """Whether the highest logit is that of the label."""
        return (outputs.argmax(axis=-1) == batch['labels']).astype(jnp.float32)

    def statistics(
        self, outputs: Float[np.ndarray, 'n classes'], batch: Batch, wanted: Collection[str] | None
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
        over those that occur, each against the rest), `auroc_interval` and, of two classes,
        `average_precision_interval` (bootstrap), `log_loss` (nats), `ece` (15 bins), `brier`,
        `per_class` (name, precision, recall, f1, auroc, average_precision, support) and
        `confusion_matrix` (rows true, columns predicted, examples). Of two classes also
        `sensitivity` and `specificity` with intervals like that, and
        `sensitivity_at_95_specificity` (bootstrap). None for what is undefined: of one class alone.
        """
        return class_metrics(found, class_names, wanted)

    def ratio(self, found: Statistics) -> Ratio:
        """Accuracy."""
        right = (found.rows['label'] == found.rows['predicted']).astype(np.float64)
        return Ratio(self.metrics[0], right, np.ones(len(right)))

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

    def example_at(
        self, output: np.ndarray, label: object, class_names: Sequence[str], threshold: Threshold
    ) -> dict[str, object]:
        """The second of two classes is answered from the threshold on."""
        names, probabilities = check_class_names(class_names, len(output)), softmax(output)
        best = int(probabilities[1] >= threshold)
        told = {'predicted': names[best], 'confidence': float(probabilities[best])}
        return self.example(output, label, class_names) | told

    def answers(
        self,
        outputs: Float[np.ndarray, 'n classes'],
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """`predicted` and its `probability`; `set`, the `top` ones and `p:CLASS` as asked for."""
        names = check_class_names(class_names, outputs.shape[1])
        answered, probabilities = one_class(
            outputs, options.temperature, options.threshold, options.before_temperature
        )
        best = answered.argmax(axis=1)
        columns: Columns = {
            'predicted': [names[c] for c in best],
            'probability': probabilities[np.arange(len(best)), best],
        }
        if options.nonconformity is not None:
            # Nothing that was fitted on the same examples may enter the sets.
            sets = prediction_sets(softmax(outputs), options.nonconformity)
            columns['set'] = ['|'.join(names[c] for c in np.flatnonzero(row)) for row in sets]
        return columns | class_columns(probabilities, names, options)

    def calibration(
        self, outputs: Float[np.ndarray, 'n classes'], labels: Int[np.ndarray, ' n']
    ) -> dict[str, Any]:
        """Temperature, a threshold of two classes, quantiles of prediction sets."""
        check_classification(outputs, labels)
        return fit_classes(outputs.astype(np.float64), labels)

    def reliability(
        self,
        outputs: np.ndarray,
        labels: np.ndarray,
        fitted: JsonObject | None = None,
        groups: np.ndarray | None = None,
    ) -> dict[str, object]:
        """See `class_report`."""
        return class_report(outputs, labels, fitted, groups)

    def text(self, metrics: MetricValues) -> str:
        """Per-class rows with averages below, like scikit-learn's classification_report."""
        columns = ('precision', 'recall', 'f1')
        lines = class_table(metrics, columns, ('macro', 'weighted'))
        lines.append(metric_line(metrics, 'accuracy', 'accuracy', '.4f'))
        if metrics.get('sensitivity') is not None and metrics.get('specificity') is not None:
            if metrics.get('threshold') is not None:
                second = printable(metrics['per_class'][1]['name'])
                lines.append(f'{second} from a probability of {metrics["threshold"]:.4g} on')
            lines += [metric_line(metrics, name, name, '.4f') for name in _OF_TWO_SAID]
        for name, label in _SAID:
            if metrics.get(name) is not None and metrics.get(f'{name}_interval') is not None:
                lines.append(metric_line(metrics, name, label, '.4f'))
        known = [
            (label, metrics[k])
            for k, label in _SAID
            if metrics.get(k) is not None and metrics.get(f'{k}_interval') is None
        ]
        return '\n'.join([*lines, ', '.join(f'{label} {value:.4f}' for label, value in known)])
