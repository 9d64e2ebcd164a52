"""Regression metrics on whole arrays, equal to scikit-learn's and scipy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.evaluation.intervals import bootstrap_mean_interval
from ftjax.evaluation.predictions import check_finite


def regression_metrics(
    predictions: np.ndarray, targets: np.ndarray, *, confidence: float = 0.95
) -> dict[str, Any]:
    """Every regression number that is reported, ready for JSON.

    Args:
      predictions: float (n,) or (n, 1), in the unit of the targets.
      targets: float (n,) or (n, 1).
      confidence: probability content of the intervals (bootstrap over examples).

    Returns:
      `n`, `mse` and `mae` with `mse_interval` and `mae_interval`, `rmse`, `r2`, `pearson`,
      `spearman`. R2 and the correlations are None where they are undefined: below two
      examples, or where the targets (for a correlation also the predictions) are constant.

    Raises:
      UserError: shapes disagree, no examples, or a target is NaN or infinite.
      NonFinitePredictions: a prediction is NaN or infinite.
    """
    import sklearn.metrics
    from scipy import stats

    # Its type stubs do not take NumPy 2's arrays.
    metrics: Any = sklearn.metrics
    predictions = _column(predictions, 'predictions')
    targets = _column(targets, 'targets')
    if len(predictions) != len(targets):
        raise UserError(f'{len(predictions)} predictions for {len(targets)} targets')
    if not len(targets):
        raise UserError('nothing to evaluate: the split holds no examples')
    if not np.isfinite(targets).all():
        raise UserError('a regression target is NaN or infinite; remove or impute it')
    check_finite(predictions)
    errors = predictions - targets
    varies = len(targets) > 1 and np.ptp(targets) > 0
    correlates = varies and np.ptp(predictions) > 0
    mse = float(metrics.mean_squared_error(targets, predictions))
    return {
        'task': 'regression',
        'n': len(targets),
        'mse': mse,
        'mse_interval': bootstrap_mean_interval(errors**2, confidence),
        'rmse': mse**0.5,
        'mae': float(metrics.mean_absolute_error(targets, predictions)),
        'mae_interval': bootstrap_mean_interval(np.abs(errors), confidence),
        'r2': float(metrics.r2_score(targets, predictions)) if varies else None,
        'pearson': _statistic(stats.pearsonr, predictions, targets) if correlates else None,
        'spearman': _statistic(stats.spearmanr, predictions, targets) if correlates else None,
    }


def _statistic(correlation, predictions: np.ndarray, targets: np.ndarray) -> float | None:
    value = float(correlation(predictions, targets).statistic)
    return value if np.isfinite(value) else None


def _column(values: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise UserError(f'{what} of a regression need shape (examples,), not {values.shape}')
    return values
