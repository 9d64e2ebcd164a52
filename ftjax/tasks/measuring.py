"""From outputs on a split to metrics: what is counted of each batch, on the host.

Counts of batches add up, so that nothing has to gather all outputs.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ftjax.data.streams.loader import real_rows
from ftjax.errors import UserError, shown
from ftjax.evaluation.example_scores import ExampleScores
from ftjax.evaluation.metric import Metric
from ftjax.evaluation.own_pairs import OwnPairs, of_all
from ftjax.evaluation.predictions import finite_rows, refuse_non_finite
from ftjax.registry import Part, parts
from ftjax.tasks.statistics import Statistics, grouped, joined, joined_of_all
from ftjax.tasks.threshold import Threshold
from ftjax.tasks.training_loss import PLAIN, Array, Batch, LossOptions, TrainingLoss

if TYPE_CHECKING:
    from jaxtyping import Float

_log = logging.getLogger(__name__)
Pairs = Iterable[tuple[Array, Batch]]
"""Outputs of a network, each with the batch that they answer."""


class Measuring(TrainingLoss):
    """What a task is measured by: statistics of batches, and metrics from them."""

    name = ''
    """As in `config.data.task`; said as the task is registered."""
    metrics: ClassVar[tuple[Metric, ...]]
    """All that `values` may give as single numbers."""
    default_metric: ClassVar[str]
    """Decides which weights a run keeps, where the config names none."""
    noted: ClassVar[tuple[str, ...]] = ()
    """Metrics that every validation notes beside the loss."""
    unit = 'examples'
    """What intervals resample: what is drawn independently. Never tokens, never pixels."""
    counted = 'examples'
    """What `n` counts, for people."""

    # Of each task.

    def statistics(
        self, outputs: Float[np.ndarray, 'n ...'], batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """What a batch adds to metrics: rows, one a unit, that are joined, and sums.

        Args:
          outputs: of real examples, float32 or wider.
          batch: 'labels', 'mask' and 'index' of these.
          wanted: metrics that will be asked of it; None for all.

        Raises:
          UserError: outputs or labels of a shape that the task does not have.
        """
        raise NotImplementedError

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Metrics from statistics, ready for JSON; None for one that is undefined.

        Args:
          found: of a whole split.
          class_names: one a class; the indices when left out.
          wanted: names of metrics, of which no interval is needed; None for all there is to
            tell, with `NAME_interval` beside a metric that has one.
        """
        raise NotImplementedError

    def summed_on_host(
        self, outputs: Array, batch: Batch, options: LossOptions
    ) -> tuple[float, float]:
        """(sum, weight) of the loss over a batch, added in float64."""
        weights = np.asarray(self.weights(batch), np.float64)
        losses = np.asarray(self.losses(outputs, batch, options), np.float64)
        return float((losses * weights).sum()), float(weights.sum())

    def completed(self, found: Statistics) -> Statistics:
        """Statistics of a whole split, with what needs all its rows at once: ranks, say.

        What is large and only served for that is left out, since a run keeps what is given.
        """
        return found

    def example_scores(self, found: Statistics) -> ExampleScores | None:
        """What each example of a split scored; None where no metric is the mean of such scores."""
        return None

    def threshold(self, rule: str, found: Statistics) -> Threshold:
        """The decision threshold that `train.threshold` chooses on validation.

        Raises:
          UserError: the task has none, or there is nothing to choose it by.
        """
        raise UserError(f'a task of {self.name} has no decision threshold')

    def decided(self, found: Statistics, threshold: Threshold) -> Statistics:
        """Statistics with the answers that a decision threshold gives.

        Raises:
          UserError: the task has no decision of that kind.
        """
        raise UserError(f'a task of {self.name} has no decision threshold')

    def obstacle(self, name: str, outputs: int) -> str:
        """Why a metric of the task is undefined for so many outputs; '' if it is not."""
        return ''

    # The same for all tasks.

    def metric(self, name: str) -> Metric | None:
        """The metric of this name, or with this other name; None if there is none."""
        own = self.own_metrics.get(name)
        shipped = (metric for metric in self.metrics if name in metric.names)
        return next(shipped, None if own is None else own.details)

    @property
    def own_metrics(self) -> Mapping[str, Part]:
        """Metrics that users registered for the task, where a row is an example."""
        known = parts('metric') if self.unit == Measuring.unit else {}
        return {name: part for name, part in known.items() if part.details.fits(self.name)}

    def own_values(
        self, found: Statistics, wanted: Collection[str] | None
    ) -> dict[str, float | None]:
        """The metrics that users registered, of a whole split; None for what is no number.

        With `wanted` None also for one that fails: it may be for other tasks, and a warning says
        so. UserError for one that is wanted by name and fails.
        """
        values: dict[str, float | None] = {}
        for name, part in self.own_metrics.items():
            if wanted is not None and name not in wanted:
                continue
            try:
                value = own_value(part, found)
            except UserError as error:
                if wanted is not None:
                    raise
                _log.warning('%s (where it is not for %s, name its tasks)', error, self.name)
                value = None
            values[name] = value
        return values

    def collected(self, pairs: Pairs, wanted: Collection[str] | None = None) -> Statistics:
        """The statistics of (outputs, batch) pairs, padding left out, in the split's order.

        Raises:
          UserError: there is no example.
        """
        parts, seen = [], 0
        for outputs, batch in pairs:
            outputs, labels = np.asarray(outputs), np.asarray(batch['labels'])
            # bfloat16 becomes float32 here: NumPy does not compute with it.
            outputs = outputs.astype(np.result_type(outputs.dtype, np.float32), copy=False)
            index = np.asarray(batch.get('index', seen + np.arange(len(labels))))
            seen += len(labels)
            real = {**batch, 'labels': labels, 'index': index}
            if 'mask' in batch:
                mask = np.asarray(batch['mask'])
                rows = real_rows(batch)
                real |= {'mask': mask}
                if not rows.all():
                    outputs = outputs[rows]
                    known = ((name, value) for name, value in real.items() if name != 'inputs')
                    real = {name: np.asarray(value)[rows] for name, value in known}
            if not len(real['labels']):
                continue
            part = self.statistics(outputs, real, wanted)
            rows = {'index': real['index'], **part.rows}
            if any(wanted is None or name in wanted for name in self.own_metrics):
                rows |= {'outputs': outputs, 'labels': real['labels']}
            if wanted is None and 'finite' not in rows:
                rows['finite'] = finite_rows(outputs)
            parts.append(dataclasses.replace(part, rows=rows, outputs=outputs.shape[-1]))
        found = joined(parts)
        if isinstance(pairs, OwnPairs):
            found = joined_of_all(of_all(pairs, found.to_tree()))
        return self.completed(found) if len(found) else found

    def measure(
        self,
        pairs: Pairs,
        class_names: Sequence[str] | None = None,
        threshold: Threshold | None = None,
        *,
        groups: Sequence[str] | np.ndarray = (),
    ) -> dict[str, object]:
        """All metrics of a split with their intervals: `task`, `n` and what `values` gives.

        `examples` are the scores of its examples, packed, where the task has any.

        Args:
          pairs: outputs with their batches.
          class_names: one a class; the indices when left out.
          threshold: answers are those that it decides, and it stands among the metrics.
          groups: what each example of the split belongs to, in its order: intervals resample
            these, and `groups` is their number. () where examples are independent.

        Raises:
          UserError: there is no example, or labels are not those of the network.
          NonFinitePredictions: an output is NaN or infinite.
        """
        found = grouped(self.collected(pairs), groups)
        return self.measured(found, class_names, threshold)

    def measured(
        self,
        found: Statistics,
        class_names: Sequence[str] | None = None,
        threshold: Threshold | None = None,
    ) -> dict[str, object]:
        """As `measure`, of what was collected; for groups see `statistics.grouped`."""
        if not len(found):
            raise UserError(f'nothing to evaluate: the split holds no {self.counted}')
        refuse_non_finite(found.rows['finite'])
        if threshold is not None:
            found = self.decided(found, threshold)
        told = list(threshold) if isinstance(threshold, (tuple, list)) else threshold
        decision = {} if threshold is None else {'threshold': told}
        group = found.rows.get('group')
        counted = {} if group is None else {'groups': len(np.unique(group))}
        values = self.values(found, class_names or ()) | self.own_values(found, None)
        scores = self.example_scores(found)
        of_examples = {} if scores is None else {'examples': scores.packed()}
        return {'task': self.name, 'n': len(found), **counted, **decision, **values, **of_examples}

    def validate(
        self,
        pairs: Pairs,
        metric: str = '',
        options: LossOptions = PLAIN,
        class_names: Sequence[str] = (),
    ) -> dict[str, float]:
        """The loss, the metrics that are `noted` or asked for, and `score`, larger is better.

        Args:
          pairs: outputs with their batches.
          metric: that decides; '' for the task's default.
          options: of the loss, which is not smoothed here.
          class_names: one a class; the indices when left out.

        `score` is the metric, its sign turned where lower is better; NaN where it is undefined.
        {} where there is no example.
        """
        if isinstance(pairs, OwnPairs) and self.compares(options):
            raise ValueError(f'{self.name}: a loss of whole batches, and here are parts of them')
        decides = self.metric(metric or self.default_metric)
        assert decides is not None
        sums = np.zeros(2)

        def with_losses() -> Pairs:
            for outputs, batch in pairs:
                sums[:] += self.summed_on_host(outputs, batch, options)
                yield outputs, batch

        counted = OwnPairs(with_losses()) if isinstance(pairs, OwnPairs) else with_losses()

        # The loss of the task is a metric too, under whatever name.
        wanted, losses = (
            {*self.noted, decides.name},
            [m.name for m in self.metrics if 'loss' in m.names],
        )
        found = self.collected(counted, wanted - {*losses})
        sums = np.sum(of_all(pairs, sums), axis=0)
        if not sums[1]:
            return {}
        loss = float(sums[0] / sums[1])
        asked = wanted - {*losses}
        known = self.values(found, class_names, asked) | self.own_values(found, asked)
        known |= dict.fromkeys(losses, loss)
        value = known.get(decides.name)
        kept = {
            name: value for name, value in known.items() if name in wanted and value is not None
        }
        score = np.nan if value is None else decides.sign * value
        return {'loss': loss, **kept, 'score': float(score)}


def own_value(part: Part, found: Statistics) -> float | None:
    """What a registered metric gives of a split, None for NaN; UserError where it fails."""
    where = f'metric {part.name!r} of {part.file}'
    try:
        given = part.function(found.rows['outputs'], found.rows['labels'])
    except UserError:
        raise
    except Exception as error:
        raise UserError(f'{where} failed: {type(error).__name__}: {error}') from error
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise UserError(f'{where} gave {shown(given)}, no number') from None
    return value if np.isfinite(value) else None
