"""Any number of classes an example: binary cross-entropy, metrics equal to scikit-learn's."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optax

from ftjax.data.labels.multi_hot import MultiHot
from ftjax.errors import UserError
from ftjax.evaluation.calibration.probability_report import fit_several
from ftjax.evaluation.decisions import over, several_labels, sigmoid
from ftjax.evaluation.example_scores import ExampleScores
from ftjax.evaluation.intervals import score_of_sums_interval, share_interval, units
from ftjax.evaluation.metric import LOG_LOSS, Metric, MetricValues, averages, error
from ftjax.evaluation.predictions import check_class_names
from ftjax.evaluation.ranking_bootstrap import (
    average_precision_interval,
    macro_precision_interval,
)
from ftjax.evaluation.ratio import Ratio
from ftjax.tasks.answers import (
    ANSWERS,
    CLASS_PIPELINES,
    AnswerOptions,
    Columns,
    class_columns,
    refuse,
)
from ftjax.tasks.classes.class_table import class_rows, class_table
from ftjax.tasks.classes.multilabel_errors import (
    MultilabelErrors,
    answers_of,
    micro_f1,
    told_labels,
)
from ftjax.tasks.registry import task
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task, metric_line
from ftjax.tasks.threshold import Threshold, choose_each, told_threshold

if TYPE_CHECKING:
    from jaxtyping import Float

_COLUMNS = ('precision', 'recall', 'f1', 'average_precision')
_SAID = (
    ('f1_micro', 'micro F1'),
    ('average_precision_micro', 'micro average precision'),
    ('average_precision_macro', 'macro average precision'),
    ('exact_match', 'all labels right'),
)


@task('multilabel')
class Multilabel(MultilabelErrors, Task):
    """Any number of classes an example; one is answered where its probability is above 1/2.

    `train.threshold` chooses another one for each class.
    """

    labels = MultiHot()
    metrics = (
        *averages('micro', 'macro'),
        Metric(name='average_precision_micro', bounds=(0.0, 1.0)),
        Metric(name='average_precision_macro', bounds=(0.0, 1.0)),
        Metric(name='exact_match', bounds=(0.0, 1.0)),
        error('hamming_loss', 'Hamming loss', high=1.0),
        LOG_LOSS,
    )
    default_metric = 'f1_micro'
    activation = 'sigmoid'
    pipelines = CLASS_PIPELINES
    problem_type = 'multi_label_classification'
    loss_unit = 'nats'
    noted = ('f1_micro',)

    def losses(
        self, outputs: Float[Array, 'batch classes'], batch: Batch, options: LossOptions
    ) -> Float[Array, ' batch']:
        """Mean over the classes of the binary cross-entropy, for labels (batch, classes)."""
        smoothing = options.label_smoothing
        targets = batch['labels'] * (1 - smoothing) + smoothing / 2
        return optax.sigmoid_binary_cross_entropy(outputs, targets).mean(axis=-1)

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """Of each example the classes found, answered and true; all logits where they are wanted.

        Average precision needs these: it goes over all thresholds.
        """
        true = np.asarray(batch['labels'])
        _check(outputs, true)
        answers, true = outputs > 0, true > 0
        counts = [(answers & true).sum(axis=1), answers.sum(axis=1), true.sum(axis=1)]
        rows = {'counts': np.stack(counts, axis=1)}
        if wanted is None or set(wanted) - {'f1_micro'}:
            rows |= {'logits': outputs.astype(np.float64), 'true': true.astype(np.int64)}
        return Statistics(rows)

    def threshold(self, rule: str, found: Statistics) -> Threshold:
        """One for each label, on its probability."""
        return choose_each(rule, found.rows['true'], sigmoid(found.rows['logits']))

    def decided(self, found: Statistics, threshold: Threshold) -> Statistics:
        """A label is answered from its threshold on."""
        logits, true = found.rows['logits'], found.rows['true'] > 0
        answers = over(sigmoid(logits), threshold)
        counts = [(answers & true).sum(axis=1), answers.sum(axis=1), true.sum(axis=1)]
        rows = {'counts': np.stack(counts, axis=1), 'answers': answers}
        return dataclasses.replace(found, rows={**found.rows, **rows})

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Every multi-label number that is reported.

        A ratio of 0 to 0 counts as 0, as in scikit-learn. The macro average of average precision
        goes over the classes that occur: without a positive it is undefined.

        `precision`, `recall`, `f1` and `average_precision`, each `_micro` and `_macro`;
        the intervals of `f1_micro` and of both averages of average precision (bootstrap over
        examples; of `f1_micro` of few see `few_units`); `exact_match` (all labels of an example
        right) with its interval (Wilson); `hamming_loss`, `log_loss` (nats, mean over examples
        and classes) and `per_class` (name, the four numbers, support).
        """
        if 'logits' not in found.rows:
            return {'f1_micro': micro_f1(found.rows['counts'])}
        import sklearn.metrics

        # Its type stubs do not take NumPy 2's arrays.
        metrics: Any = sklearn.metrics
        logits, true, n = found.rows['logits'], found.rows['true'], len(found)
        names = check_class_names(class_names, true.shape[1])
        answers = answers_of(found).astype(np.int64)
        whole = (answers == true).all(axis=1)
        result: dict[str, object] = {}
        for average in ('micro', 'macro'):
            numbers = metrics.precision_recall_fscore_support(
                true, answers, average=average, zero_division=0
            )
            for name, value in zip(_COLUMNS[:3], numbers[:3], strict=True):
                result[f'{name}_{average}'] = float(value)
        occur = true.sum(axis=0) > 0
        finite = np.isfinite(logits).all()
        each = [
            float(metrics.average_precision_score(true[:, c], logits[:, c]))
            if occur[c] and finite
            else None
            for c in range(len(names))
        ]
        known = [value for value in each if value is not None]
        result['average_precision_micro'] = (
            float(metrics.average_precision_score(true, logits, average='micro')) if known else None
        )
        result['average_precision_macro'] = float(np.mean(known)) if known else None
        result['exact_match'] = int(whole.sum()) / n
        result['hamming_loss'] = float((answers != true).mean())
        # log(1 + exp(-z)) for a 1 and log(1 + exp(z)) for a 0, without overflow.
        result['log_loss'] = float(np.logaddexp(0, np.where(true == 1, -logits, logits)).mean())
        if wanted is not None:
            return result
        groups = found.rows.get('group')
        result['f1_micro_interval'] = score_of_sums_interval(
            units(found.rows['counts'], groups), micro_f1
        )
        result['exact_match_interval'] = share_interval(whole, groups)
        if known:
            # Micro: every pair of an example and a class is ranked, and examples are drawn.
            owners = np.repeat(np.arange(n) if groups is None else groups, len(names))
            result['average_precision_micro_interval'] = average_precision_interval(
                logits.ravel(), true.ravel() > 0, owners
            )
            result['average_precision_macro_interval'] = macro_precision_interval(
                logits, true > 0, groups
            )
        rows = metrics.precision_recall_fscore_support(true, answers, average=None, zero_division=0)
        columns = dict(zip(_COLUMNS, (*rows[:3], each), strict=True))
        return {**result, 'per_class': class_rows(names, columns, rows[3])}

    def example_scores(self, found: Statistics) -> ExampleScores:
        """Whether all labels of each example are right."""
        right = (answers_of(found) == found.rows['true']).all(axis=1)
        return ExampleScores(metric='exact_match', values=right)

    def example(
        self, output: np.ndarray, label: object, class_names: Sequence[str]
    ) -> dict[str, Any]:
        """The true classes, those that were answered, and which were missed or made up."""
        names = check_class_names(class_names, len(output))
        return told_labels(np.asarray(output) > 0, label, names)

    def example_at(
        self, output: np.ndarray, label: object, class_names: Sequence[str], threshold: Threshold
    ) -> dict[str, object]:
        """A label is answered from its threshold on."""
        names = check_class_names(class_names, len(output))
        return told_labels(over(sigmoid(output[None]), threshold)[0], label, names)

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """`predicted`, the classes of a probability above the threshold (1/2), parted by `|`."""
        refuse(options, self.name, 'nonconformity')
        names = check_class_names(class_names, outputs.shape[1])
        answered, probabilities = several_labels(
            outputs, options.temperature, options.threshold, options.before_temperature
        )
        found = ['|'.join(names[c] for c in np.flatnonzero(row)) for row in answered]
        return {'predicted': found} | class_columns(probabilities, names, options)

    def calibration(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """Temperature, and the threshold with the best micro F1."""
        _check(outputs, labels)
        return fit_several(outputs, labels)

    def ratio(self, found: Statistics) -> Ratio:
        """Micro F1."""
        hits, answered, true = found.rows['counts'].astype(np.float64).T
        metric = self.metric(self.default_metric)
        assert metric is not None
        return Ratio(metric, 2 * hits, answered + true)

    def text(self, metrics: MetricValues) -> str:
        """Per-class rows, the averages below, and the numbers over whole examples."""
        lines = class_table(metrics, _COLUMNS, ('micro', 'macro'))
        if metrics.get('threshold') is not None:
            lines.append(
                told_threshold(metrics['threshold'], [r['name'] for r in metrics['per_class']])
            )
        for name, label in _SAID:
            if metrics[name] is not None:
                lines.append(metric_line(metrics, name, label, '.4f'))
        lines.append(
            f'Hamming loss {metrics["hamming_loss"]:.4f}, log loss {metrics["log_loss"]:.4f}'
        )
        return '\n'.join(lines)


def _check(logits: np.ndarray, labels: np.ndarray) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape:
        raise UserError(
            f'labels have shape {labels.shape} beside logits of {logits.shape}; expected '
            '(examples, classes) for both'
        )
    if logits.shape[1] < 2:
        raise UserError('several labels an example need 2 classes or more')
    if not ((labels == 0) | (labels == 1)).all():
        raise UserError('labels of several classes an example must be 0 or 1')
