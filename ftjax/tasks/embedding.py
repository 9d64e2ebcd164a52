"""Vectors of texts that are near where texts belong together. What is resampled are queries."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ftjax.data.labels.similar_texts import NONE, SimilarTexts
from ftjax.errors import UserError
from ftjax.evaluation.intervals import score_interval
from ftjax.evaluation.metric import Metric, MetricValues, share
from ftjax.evaluation.mistakes import largest
from ftjax.evaluation.predictions import finite_rows
from ftjax.evaluation.ratio import Ratio
from ftjax.evaluation.unit_vectors import unit
from ftjax.tasks.answers import ANSWERS, AnswerOptions, Columns, refuse
from ftjax.tasks.error_analysis import Baseline
from ftjax.tasks.registry import task
from ftjax.tasks.retrieval.contrastive_losses import (
    multiple_negatives,
    supervised_contrastive,
)
from ftjax.tasks.retrieval.retrieval import CUTOFFS, ranked
from ftjax.tasks.retrieval.vectors import cosines_with_first, vector_columns
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task, metric_line

if TYPE_CHECKING:
    from jaxtyping import Float

    from ftjax.data.dataset import Dataset

_RECALLS = tuple(f'recall_at_{k}' for k in CUTOFFS)


@task('embedding')
class Embedding(Task):
    """A vector for a text, trained on pairs, triplets or texts of classes.

    Pairs and triplets: `multiple_negatives`; of the test split every first text asks for the
    second, among all second and further texts but itself. Texts of classes:
    `supervised_contrastive`; every text asks for the others of its class.
    """

    labels = SimilarTexts()
    metrics = (
        *(share(name, f'recall@{k}') for name, k in zip(_RECALLS, CUTOFFS, strict=True)),
        Metric(name='mrr_at_10', label='MRR@10', bounds=(0.0, 1.0)),
        Metric(name='ndcg_at_10', label='nDCG@10', bounds=(0.0, 1.0)),
    )
    smooths = False
    default_metric = 'ndcg_at_10'
    loss_unit = 'nats'
    noted = ('recall_at_1',)
    served = 'vectors'
    pipelines: ClassVar = {'texts': 'feature-extraction'}

    def losses(
        self, outputs: Float[Array, 'batch ...'], batch: Batch, options: LossOptions
    ) -> Float[Array, ' batch']:
        """Of each first text against the second texts of the batch; or of texts of classes."""
        if outputs.ndim == 3:
            return multiple_negatives(outputs, batch)
        return supervised_contrastive(outputs, batch)

    def compares(self, options: LossOptions) -> bool:
        """Always: the wrong answers are other texts of the batch."""
        return True

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """The vectors at length 1, and what numbers the labels give the texts."""
        vectors = outputs if outputs.ndim == 3 else outputs[:, None]
        numbers = np.asarray(batch['labels'], np.int64)
        if numbers.shape != (len(vectors), vectors.shape[1] + 1):
            raise UserError(
                f'labels of shape {numbers.shape} beside vectors of {vectors.shape}: expected a '
                'number for each text and a class'
            )
        with np.errstate(invalid='ignore', over='ignore'):  # outputs that are no numbers
            rows = {'vectors': np.asarray(unit(vectors.astype(np.float32))), 'numbers': numbers}
        return Statistics({**rows, 'finite': finite_rows(outputs)})

    def completed(self, found: Statistics) -> Statistics:
        """The ranks of what belongs to each query, in place of the vectors.

        `query` is 1 for the first of equal first texts, and 0 where nothing belongs to it.
        `nearest` is the example that holds the nearest candidate, as its text `nearest_text`.
        """
        rows = dict(found.rows)
        vectors, numbers = rows.pop('vectors'), rows.pop('numbers')
        vectors = np.where(np.isfinite(vectors), vectors, 0)
        texts = vectors.shape[1]
        if texts == 1:
            candidates, holder = vectors[:, 0], np.arange(len(vectors))
            asks, answers, column = numbers[:, 1], holder, np.zeros(len(vectors), int)
            itself = holder
        else:
            known, first = np.unique(numbers[:, 1:-1].T.reshape(-1), return_index=True)
            candidates = vectors[:, 1:].swapaxes(0, 1).reshape(-1, vectors.shape[-1])[first]
            holder, column = first % len(vectors), 1 + first // len(vectors)
            asks, answers = numbers[:, 0], np.searchsorted(known, numbers[:, 1])
            itself = np.searchsorted(known, asks).clip(max=len(known) - 1)
            positive = np.isin(asks, asks[asks == numbers[:, 1]])  # of some row, its own
            itself = np.where((known[itself] == asks) & ~positive, itself, -1)
        asked = np.unique(asks, return_inverse=True)[1]
        order = np.argsort(asked, kind='stable')
        belonging = np.split(answers[order], np.cumsum(np.bincount(asked))[:-1])
        got = ranked(vectors[:, 0], candidates, [belonging[number] for number in asked], itself)
        once = np.zeros(len(asked), bool)
        once[np.unique(holder if texts == 1 else asks, return_index=True)[1]] = True
        rows |= {name: got.recalls[:, k] for k, name in enumerate(_RECALLS)}
        rows |= {'mrr_at_10': got.reciprocal, 'ndcg_at_10': got.gains}
        rows |= {'query': once & (got.total > 0), 'nearest': rows['index'][holder[got.nearest]]}
        rows['nearest_text'] = column[got.nearest]
        if texts > 2:
            pairs = np.einsum('nd,nkd->nk', vectors[:, 0], vectors[:, 1:])
            rows['triplet'] = pairs[:, 0] > pairs[:, 1:].max(axis=1)
        sums = {'candidates': np.array(len(candidates) - (texts == 1))}
        return dataclasses.replace(found, rows=rows, sums=sums)

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Means over queries with intervals; `queries`, `candidates`; of triplets also
        `triplet_accuracy`: how often the positive is nearer than every negative of its row.

        None for what is undefined: no query has anything that belongs to it.
        """
        queries = found.rows['query'] > 0
        names = [m.name for m in self.metrics if wanted is None or m.name in wanted]
        columns = {name: found.rows[name][queries] for name in names}
        values = {n: float(column.mean()) if len(column) else None for n, column in columns.items()}
        if wanted is not None:
            return values
        group = found.rows.get('group')
        group = None if group is None else group[queries]
        intervals = {
            f'{n}_interval': score_interval(column, group) for n, column in columns.items()
        }
        counts = {
            'queries': int(queries.sum()),
            'candidates': int(found.sums['candidates']),
        }
        if 'triplet' in found.rows:
            values['triplet_accuracy'] = float(found.rows['triplet'].mean())
        return {**counts, **values, **(intervals if queries.any() else {})}

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """The vectors; of rows of several texts first their `similarity`, the cosine of the first
        text with the second, and `similarity_2`, .. with further ones.
        """
        refuse(options, self.name, 'top_k', 'temperature', 'threshold', 'nonconformity')
        if outputs.ndim == 2:
            return vector_columns(outputs)
        names = ['similarity', *(f'similarity_{n}' for n in range(2, outputs.shape[1]))]
        return {
            **dict(zip(names, cosines_with_first(outputs).T, strict=True)),
            **vector_columns(outputs),
        }

    def text(self, metrics: MetricValues) -> str:
        """Queries and candidates first: among more of these all metrics are lower."""
        asked, among = metrics['queries'], metrics['candidates']
        lines = [f'{"queries":<11} {asked:,}, each among {among:,} candidates']
        shared = metrics.get('positives_in_training')
        if shared is not None:
            lines[0] += f'; {shared:,} of {metrics["n"]:,} positives stand in training too'
        lines += [metric_line(metrics, m.name, f'{m.name:<11}', '.4f') for m in self.metrics]
        triplets = metrics.get('triplet_accuracy')
        if triplets is not None:
            lines.append(f'{"triplets":<11} {triplets:.4f} have their positive nearest')
        return '\n'.join(lines)

    def ratio(self, found: Statistics) -> Ratio:
        """NDCG over queries."""
        metric = self.metric(self.default_metric)
        assert metric is not None
        queries = (found.rows['query'] > 0).astype(np.float64)
        return Ratio(metric, found.rows[metric.name] * queries, queries)

    def example(self, output: np.ndarray, label: Any, class_names: Sequence[str]) -> dict[str, Any]:
        """The cosines of the first text with the others; the class of a single one."""
        if output.ndim == 1 or len(output) == 1:
            return {} if label[-1] == NONE else {'label': int(label[-1])}
        vectors = np.asarray(unit(output))
        cosines = vectors[1:] @ vectors[0]
        return {f'cosine_{number}': float(each) for number, each in enumerate(cosines, 1)}

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The queries that find what belongs to them last."""
        gains = np.where(found.rows['query'] > 0, found.rows['ndcg_at_10'], 1.0)
        return [
            {
                'id': str(ids[i]),
                'position': int(i),
                'nearest': int(found.rows['nearest'][i]),
                'nearest_text': int(found.rows['nearest_text'][i]),
                'ndcg_at_10': float(gains[i]),
            }
            for i in largest(1 - gains, limit)
            if gains[i] < 1
        ]

    def in_context(self, mistake: Mapping[str, Any], data: Dataset, place: int) -> dict[str, Any]:
        """With the text that is nearest instead."""
        told = {k: v for k, v in mistake.items() if k not in ('nearest', 'nearest_text')}
        other = data.inputs[mistake['nearest']]
        text = other if isinstance(other, str) else other[mistake['nearest_text']]
        return {**told, 'texts': [*mistake.get('texts', ()), f'nearest: {str(text)[:500]}']}

    def baselines(
        self,
        labels: np.ndarray,
        found: Statistics,
        class_names: Sequence[str],
        metrics: MetricValues,
    ) -> list[Baseline]:
        """Candidates in a random order, where one belongs to a query."""
        count = int(found.sums['candidates'])
        chance = {name: min(1.0, k / count) for name, k in zip(_RECALLS, CUTOFFS, strict=True)}
        return [Baseline('chance', chance)] if count and labels.shape[1] > 2 else []
