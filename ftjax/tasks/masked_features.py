"""Hidden features of the rows of a table: how well they are guessed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from ftjax.data.labels.features import NOT_ASKED, HiddenFeatures
from ftjax.evaluation.intervals import bootstrap_interval, units
from ftjax.evaluation.metric import Metric, MetricValues, error
from ftjax.evaluation.predictions import finite_rows
from ftjax.tasks.registry import task
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task, metric_line

if TYPE_CHECKING:
    from jaxtyping import Float


@task('masked_features')
class MaskedFeatures(Task):
    """Standardised features that the network does not see: to pretrain it without labels."""

    labels = HiddenFeatures()
    metrics = (
        error('loss', also=('mse',), unit='squared units of the features'),
        Metric(name='explained', label='share of the variance', bounds=(None, 1.0), percent=True),
    )
    smooths = False
    default_metric = 'loss'
    loss_unit = 'squared units of the features'
    noted = ('explained',)
    unit = 'rows'
    counted = 'hidden features'

    def losses(
        self, outputs: Float[Array, 'batch features'], batch: Batch, options: LossOptions
    ) -> Float[Array, 'batch features']:
        """Squared errors of what the network answers."""
        return jnp.square(outputs - batch['labels'])

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """Of each row: squared errors, squares of what was hidden, and how many features."""
        asked = np.asarray(batch['mask']) > 0
        errors = np.where(asked, np.square(outputs.astype(np.float64) - batch['labels']), 0)
        squares = np.where(asked, np.square(batch['labels'].astype(np.float64)), 0)
        columns = [errors.sum(axis=1), squares.sum(axis=1), asked.sum(axis=1)]
        return Statistics({'sums': np.stack(columns, axis=1), 'finite': finite_rows(outputs)})

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """`loss`, the mean squared error with its interval over rows or groups, and `explained`.

        The latter is 1 minus errors over squares: 0 for who always answers the training mean.
        """
        sums = found.rows['sums']
        errors, squares, count = sums.sum(axis=0)
        result = {
            'loss': float(errors / count),
            'explained': float(1 - errors / squares) if squares else None,
        }
        if wanted is not None:
            return result
        rows = {'n': int(count), 'rows': len(sums)}
        resampled = units(sums, found.rows.get('group'))
        interval = bootstrap_interval(resampled, _loss, within=(0.0, None))
        return {**rows, **result, 'loss_interval': interval}

    def example(
        self, output: np.ndarray, label: object, class_names: Sequence[str]
    ) -> dict[str, Any]:
        """How many features of the row were asked for, and their mean squared error."""
        label = np.asarray(label)
        batch = {'labels': label[None], 'mask': label[None] != NOT_ASKED}
        errors, _, asked = self.statistics(output[None], batch, None).rows['sums'][0]
        return {'asked': int(asked), 'loss': errors / max(asked, 1)}

    def text(self, metrics: MetricValues) -> str:
        """The loss with its interval, and the share of the variance."""
        lines = [f'hidden features {metrics["n"]} of {metrics["rows"]} rows']
        lines += [
            metric_line(metrics, name, f'{name:<15}', '.4f') for name in ('loss', 'explained')
        ]
        return '\n'.join(lines)


def _loss(sums: np.ndarray) -> float:
    return float(sums[:, 0].sum() / sums[:, 2].sum())
