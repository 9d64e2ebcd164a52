"""Candidates of a query in the order of their relevance: each is scored together with the query."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.labels.choices import NO_CANDIDATE, Relevance, texts_there
from ftjax.errors import UserError
from ftjax.evaluation.intervals import score_interval
from ftjax.evaluation.metric import Metric, MetricValues
from ftjax.evaluation.mistakes import largest
from ftjax.evaluation.predictions import finite_rows
from ftjax.evaluation.ratio import Ratio
from ftjax.tasks.answers import ANSWERS, AnswerOptions, Columns, refuse
from ftjax.tasks.registry import task
from ftjax.tasks.retrieval.retrieval import DEPTH
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task, metric_line

if TYPE_CHECKING:
    from jaxtyping import Float


@task('text_ranking')
class TextRanking(Task):
    """A score for a query and a candidate together; a query counts if any candidate is relevant."""

    labels = Relevance()
    metrics = (
        Metric(name='ndcg_at_10', label='nDCG@10', bounds=(0.0, 1.0)),
        Metric(name='mrr_at_10', label='MRR@10', bounds=(0.0, 1.0)),
    )
    smooths = False
    default_metric = 'ndcg_at_10'
    loss_unit = 'nats'
    unit = 'queries'
    counted = 'queries'
    served = 'order'
    pipelines: ClassVar = {'texts': 'text-ranking'}

    def losses(
        self, outputs: Float[Array, 'batch candidates 1'], batch: Batch, options: LossOptions
    ) -> Float[Array, ' batch']:
        """Cross-entropy of the shares of relevance under the scores (ListNet).

        Source: Cao et al. 2007, doi:10.1145/1273496.1273513, with shares in place of softmax.
        """
        relevance = batch['labels']
        there = relevance != NO_CANDIDATE
        gains = jnp.where(there, relevance, 0.0)
        logs = jax.nn.log_softmax(jnp.where(there, outputs[..., 0], -1e30), axis=-1)
        total = jnp.maximum(gains.sum(axis=-1, keepdims=True), 1e-12)
        return -(gains / total * jnp.where(there, logs, 0.0)).sum(axis=-1)

    def weights(self, batch: Batch) -> Float[Array, ' batch']:
        """1 for a query with a relevant candidate."""
        return batch['mask'] * (batch['labels'] > 0).any(axis=-1)

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """NDCG and reciprocal rank of each query, of the first ten candidates.

        Of equal scores the less relevant candidate comes first.
        """
        labels = np.asarray(batch['labels'], np.float64)
        if outputs.shape != (*labels.shape, 1):
            raise UserError(
                f'scores of shape {outputs.shape} beside relevance of {labels.shape}: expected one '
                'for each candidate'
            )
        there = labels != NO_CANDIDATE
        scores = np.where(there, outputs[..., 0].astype(np.float64), -np.inf)
        # Of equal scores the less relevant comes first: the order of the data wins nothing.
        order = np.lexsort((labels, -scores), axis=1)[:, :DEPTH]
        gains = np.maximum(np.take_along_axis(labels, order, axis=1), 0)
        ideal = np.sort(np.maximum(labels, 0), axis=1)[:, ::-1][:, :DEPTH]
        discounts = 1 / np.log2(np.arange(2, gains.shape[1] + 2))
        best = (ideal * discounts).sum(axis=1)
        first = (gains > 0).argmax(axis=1)
        rows: dict[str, np.ndarray] = {
            'ndcg_at_10': (gains * discounts).sum(axis=1) / np.maximum(best, 1e-12),
            'mrr_at_10': np.where((gains > 0).any(axis=1), 1 / (first + 1), 0.0),
            'query': np.asarray((labels > 0).any(axis=1)),
            'candidates': there.sum(axis=1),
            'finite': finite_rows(outputs),
        }
        return Statistics(rows)

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Means over queries with a relevant candidate, with intervals over these.

        `queries`, so many; `candidates`, of each on the mean.
        """
        queries = found.rows['query'] > 0
        names = [m.name for m in self.metrics if wanted is None or m.name in wanted]
        columns = {name: found.rows[name][queries] for name in names}
        values: dict[str, Any] = {
            n: float(c.mean()) if len(c) else None for n, c in columns.items()
        }
        if wanted is not None or not queries.any():
            return values
        group = found.rows.get('group')
        group = None if group is None else group[queries]
        intervals = {f'{n}_interval': score_interval(c, group) for n, c in columns.items()}
        among = float(found.rows['candidates'][queries].mean())
        return {'queries': int(queries.sum()), 'candidates': among, **values, **intervals}

    def text(self, metrics: MetricValues) -> str:
        """Queries and candidates first: among fewer of these all metrics are higher."""
        if not metrics.get('queries'):
            return super().text(metrics)
        asked, among = metrics['queries'], metrics['candidates']
        lines = [f'{"queries":<11} {asked:,}, each with {among:,.4g} candidates on the mean']
        lines += [metric_line(metrics, m.name, f'{m.name:<11}', '.4f') for m in self.metrics]
        return '\n'.join(lines)

    def ratio(self, found: Statistics) -> Ratio:
        """NDCG over queries."""
        queries = (found.rows['query'] > 0).astype(np.float64)
        return Ratio(self.metrics[0], found.rows['ndcg_at_10'] * queries, queries)

    def example(self, output: np.ndarray, label: Any, class_names: Sequence[str]) -> dict[str, Any]:
        """The relevance of the candidates and their scores."""
        there = np.asarray(label) != NO_CANDIDATE
        return {
            'label': [f'{each:g}' for each in np.asarray(label)[there]],
            'predicted': [f'{each:.4g}' for each in output[there, 0]],
        }

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """`predicted`: the numbers of the candidates from 0, best first; and their `scores`."""
        refuse(options, self.name, 'top_k', 'temperature', 'threshold', 'nonconformity')
        return _columns(list(outputs.reshape(len(outputs), -1)))

    def answers_to(
        self,
        inputs: Sequence[Any],
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """As `answers`, and the text of the `first`; nothing of candidates that are not there."""
        self.answers(outputs, class_names, options)  # refuses options
        counts = [texts_there(texts) - 1 for texts in inputs]
        rows = [scores.reshape(-1)[:n] for scores, n in zip(outputs, counts, strict=True)]
        best = [str(texts[1 + row.argmax()]) for texts, row in zip(inputs, rows, strict=True)]
        return {**_columns(rows), 'first': best}

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The queries whose candidates are in the worst order."""
        gains = np.where(found.rows['query'] > 0, found.rows['ndcg_at_10'], 1.0)
        return [
            {'id': str(ids[i]), 'position': int(i), 'ndcg_at_10': float(gains[i])}
            for i in largest(1 - gains, limit)
            if gains[i] < 1
        ]


def _columns(rows: Sequence[np.ndarray]) -> Columns:
    """Answers of the scores (candidates,) of each query."""
    orders = [np.argsort(-scores, kind='stable').tolist() for scores in rows]
    return {
        'predicted': [' '.join(map(str, order)) for order in orders],
        'scores': [' '.join(f'{each:.6g}' for each in scores) for scores in rows],
    }
