"""How alike two texts are, as the cosine of their vectors. What is resampled are pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ftjax.data.labels.text_scores import TextScores
from ftjax.errors import UserError
from ftjax.evaluation.intervals import bootstrap_interval
from ftjax.evaluation.metric import Metric, error
from ftjax.evaluation.mistakes import largest
from ftjax.evaluation.ratio import Ratio
from ftjax.evaluation.unit_vectors import pair_cosines
from ftjax.tasks.answers import ANSWERS, AnswerOptions, Columns, refuse
from ftjax.tasks.registry import task
from ftjax.tasks.retrieval.contrastive_losses import cosine_regression
from ftjax.tasks.retrieval.vectors import vector_columns
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task

if TYPE_CHECKING:
    from jaxtyping import Float


@task('text_similarity')
class TextSimilarity(Task):
    """A number for a pair of texts that each go through the network alone."""

    labels = TextScores()
    metrics = (
        Metric(name='spearman', label='Spearman correlation', bounds=(-1.0, 1.0)),
        Metric(name='pearson', label='Pearson correlation', bounds=(-1.0, 1.0)),
        error('cosine_mse', 'squared error of the cosine', also=('loss',)),
    )
    smooths = False
    default_metric = 'spearman'
    served = 'cosine'
    pipelines: ClassVar = {'texts': 'sentence-similarity'}

    def losses(
        self, outputs: Float[Array, 'batch 2 dim'], batch: Batch, options: LossOptions
    ) -> Float[Array, ' batch']:
        """The squared error of the cosine."""
        return cosine_regression(outputs, batch)

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """The cosine of each pair and its score."""
        if outputs.ndim != 3 or outputs.shape[1] != 2:
            raise UserError(
                f'vectors of shape {outputs.shape}: expected two texts an example '
                '(data.text_columns)'
            )
        with np.errstate(invalid='ignore', over='ignore'):  # outputs that are no numbers
            cosines = pair_cosines(outputs)
        return Statistics({'cosine': cosines, 'score': batch['labels'].astype(np.float64)})

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """`spearman`, `pearson` and `cosine_mse` with intervals over pairs.

        A correlation is None where all cosines or all scores are equal. Groups of pairs are not
        resampled: their intervals are left out.
        """
        pairs = np.stack([found.rows['cosine'], found.rows['score']], axis=1)
        known = {'spearman': _spearman, 'pearson': _pearson, 'cosine_mse': _mse}
        values: dict[str, Any] = {
            name: measure(pairs)
            for name, measure in known.items()
            if wanted is None or name in wanted
        }
        values = {n: v if v is not None and np.isfinite(v) else None for n, v in values.items()}
        if wanted is not None or 'group' in found.rows:
            return values
        intervals = {
            f'{metric.name}_interval': bootstrap_interval(
                pairs, known[metric.name], within=metric.bounds
            )
            for metric in self.metrics
            if values[metric.name] is not None
        }
        return {**values, **intervals}

    def ratio(self, found: Statistics) -> Ratio:
        """The mean squared error: a correlation is no ratio of sums."""
        metric = self.metric('cosine_mse')
        assert metric is not None
        errors = np.square(found.rows['cosine'] - found.rows['score'])
        return Ratio(metric, errors, np.ones(len(errors)))

    def example(self, output: np.ndarray, label: Any, class_names: Sequence[str]) -> dict[str, Any]:
        """The score and the cosine."""
        return {'score': float(label), 'cosine': float(pair_cosines(output[None])[0])}

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """`predicted`, the cosine of a pair; of single texts their vectors."""
        refuse(options, self.name, 'top_k', 'temperature', 'threshold', 'nonconformity')
        if outputs.ndim == 2:
            return vector_columns(outputs)
        return {'predicted': pair_cosines(outputs)}

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The pairs whose ranks by cosine and by score differ most."""
        ranks = [_ranks(found.rows[name]) for name in ('cosine', 'score')]
        return [
            {
                'id': str(ids[i]),
                'position': int(i),
                'score': float(found.rows['score'][i]),
                'cosine': float(found.rows['cosine'][i]),
            }
            for i in largest(np.abs(ranks[0] - ranks[1]), limit)
        ]


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(values)


def _pearson(pairs: np.ndarray) -> float:
    """0 of a resample without spread would be a lie; NaN says that there is none."""
    if not np.ptp(pairs, axis=0).all():  # the deviation of equal numbers is not always exactly 0
        return float('nan')
    centred = (pairs - pairs.mean(axis=0)) / pairs.std(axis=0)
    return float((centred[:, 0] * centred[:, 1]).mean())


def _spearman(pairs: np.ndarray) -> float:
    return _pearson(np.stack([_ranks(pairs[:, 0]), _ranks(pairs[:, 1])], axis=1))


def _mse(pairs: np.ndarray) -> float:
    return float(np.square(pairs[:, 0] - pairs[:, 1]).mean())
