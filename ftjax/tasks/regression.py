"""One value an example: the squared error, and metrics equal to scikit-learn's and scipy's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax.numpy as jnp
import numpy as np

from ftjax.data.labels.values import Values
from ftjax.errors import UserError
from ftjax.evaluation.example_scores import ExampleScores
from ftjax.evaluation.intervals import mean_interval
from ftjax.evaluation.metric import Metric, MetricValues, error
from ftjax.evaluation.mistakes import largest_errors
from ftjax.evaluation.prediction_figures import agreement_figure
from ftjax.evaluation.ratio import Ratio
from ftjax.tasks.answers import ANSWERS, AnswerOptions, Columns, refuse
from ftjax.tasks.error_analysis import Baseline, Picture
from ftjax.tasks.registry import task
from ftjax.tasks.statistics import Statistics
from ftjax.tasks.task import Array, Batch, LossOptions, Task

if TYPE_CHECKING:
    from jaxtyping import Float


@task('regression')
class Regression(Task):
    """One value an example."""

    labels = Values()
    metrics = (
        error('mse', 'MSE', also=('loss',), unit='squared units of the label'),
        error('rmse', 'RMSE', unit='units of the label'),
        error('mae', 'MAE', unit='units of the label'),
        Metric(name='r2', label='R²', bounds=(None, 1.0)),
        Metric(name='pearson', label='Pearson r', bounds=(-1.0, 1.0)),
        Metric(name='spearman', label='Spearman ρ', bounds=(-1.0, 1.0)),
    )
    smooths = False
    default_metric = 'mse'
    pipelines: ClassVar = {'table': 'tabular-regression'}
    problem_type = 'regression'
    loss_unit = 'squared units of the target'
    noted = ('mse', 'pearson', 'spearman')

    def losses(
        self, outputs: Float[Array, 'batch 1'], batch: Batch, options: LossOptions
    ) -> Float[Array, ' batch']:
        """Squared error for float32 labels (batch,), in target scales."""
        errors = outputs[:, 0] - batch['labels']
        return jnp.square(errors if options.target_scale == 1 else errors / options.target_scale)

    def statistics(
        self, outputs: np.ndarray, batch: Batch, wanted: Collection[str] | None
    ) -> Statistics:
        """The prediction and the target: ranks need all of them."""
        predictions, targets = _column(outputs, 'predictions'), _column(batch['labels'], 'targets')
        if len(predictions) != len(targets):
            raise UserError(f'{len(predictions)} predictions for {len(targets)} targets')
        if not np.isfinite(targets).all():
            raise UserError('a regression target is NaN or infinite; remove or impute it')
        return Statistics({'predictions': predictions, 'targets': targets})

    def values(
        self,
        found: Statistics,
        class_names: Sequence[str] = (),
        wanted: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """`mse` and `mae` with their intervals, `rmse`, `r2`, `pearson`, `spearman`.

        R2 and the correlations are None where they are undefined: below two examples, or where
        the targets (for a correlation also the predictions) are constant.
        """
        from scipy import stats

        predictions, targets = found.rows['predictions'], found.rows['targets']
        errors = predictions - targets
        squares, sizes = errors**2, np.abs(errors)
        varies = len(targets) > 1 and np.ptp(targets) > 0
        correlates = varies and np.ptp(predictions) > 0  # NaN fails it too
        mse = float(np.mean(squares))
        result: dict[str, object] = {
            'mse': mse,
            'rmse': mse**0.5,
            'mae': float(np.mean(sizes)),
            'r2': None,
        }
        if varies:
            result['r2'] = 1 - float(squares.sum() / ((targets - targets.mean()) ** 2).sum())
        for name, correlation in (('pearson', stats.pearsonr), ('spearman', stats.spearmanr)):
            both = predictions, targets
            result[name] = _statistic(correlation, *both) if correlates else None
        if wanted is not None:
            return result
        groups = found.rows.get('group')
        result |= {'mse_interval': mean_interval(squares, groups, (0.0, None))}
        return {**result, 'mae_interval': mean_interval(sizes, groups, (0.0, None))}

    def example_scores(self, found: Statistics) -> ExampleScores:
        """The squared error of each prediction."""
        errors = found.rows['predictions'] - found.rows['targets']
        return ExampleScores(metric='mse', values=errors**2)

    def example(self, output: np.ndarray, label: Any, class_names: Sequence[str]) -> dict[str, Any]:
        """The target, the prediction, and the signed error."""
        predicted, target = float(np.ravel(output)[0]), float(label)
        return {'target': target, 'predicted': predicted, 'error': predicted - target}

    def answers(
        self,
        outputs: np.ndarray,
        class_names: Sequence[str] = (),
        options: AnswerOptions = ANSWERS,
    ) -> Columns:
        """`predicted`: the value."""
        refuse(options, self.name, 'top_k', 'temperature', 'threshold', 'nonconformity')
        return {'predicted': outputs.reshape(len(outputs), -1)[:, 0]}

    def ratio(self, found: Statistics) -> Ratio:
        """The mean squared error."""
        squares = (found.rows['predictions'] - found.rows['targets']) ** 2
        return Ratio(self.metrics[0], squares, np.ones(len(squares)))

    def columns(self, found: Statistics, class_names: Sequence[str]) -> dict[str, np.ndarray]:
        """The target."""
        return {'target': found.rows['targets']}

    def mistakes(
        self, found: Statistics, ids: Sequence[str], class_names: Sequence[str], limit: int = 20
    ) -> list[dict[str, Any]]:
        """The largest errors."""
        return largest_errors(found.rows['predictions'], found.rows['targets'], ids, limit)

    def baselines(
        self,
        labels: np.ndarray,
        found: Statistics,
        class_names: Sequence[str],
        metrics: MetricValues,
    ) -> list[Baseline]:
        """Always the mean of the training targets."""
        constant = np.full(len(found), np.asarray(labels, np.float64).mean())
        rows = {'predictions': constant, 'targets': found.rows['targets']}
        names = {metric.name for metric in self.metrics}
        values = self.values(Statistics(rows), (), names)
        known = {name: value for name, value in values.items() if value is not None}
        return [Baseline('always the mean of training', known)]

    def pictures(
        self, found: Statistics, metrics: MetricValues, class_names: Sequence[str]
    ) -> list[Picture]:
        """Predictions against targets, and the errors."""
        return [
            Picture(
                'Each point is an example; on the dashed line the prediction is the target.',
                agreement_figure(found.rows['targets'], found.rows['predictions']),
            )
        ]


def _statistic(
    correlation: Callable[..., Any], predictions: np.ndarray, targets: np.ndarray
) -> float | None:
    value = float(correlation(predictions, targets).statistic)
    return value if np.isfinite(value) else None


def _column(values: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise UserError(f'{what} of a regression need shape (examples,), not {values.shape}')
    return values
