"""One cell of an ablation: an arm at a rate and a seed, run and reduced to a row."""

from __future__ import annotations

from typing import Any

from ftjax.ablation.baselines import pixel_regression
from ftjax.config import Config, merged, read_config
from ftjax.data import Splits, load_data
from ftjax.errors import UserError, check_name
from ftjax.evaluation import evaluate
from ftjax.evaluation.predictions import NonFinitePredictions
from ftjax.preparation import prepare
from ftjax.run import train
from ftjax.training.fit import Diverged


def cell_runner(values: dict[str, Any], settings: Any):
    """`execute(arm, rate, seed)` for `run_grid`: one cell of an ablation, as a row's fields.

    Args:
      values: the config shared by all arms, as plain dicts.
      settings: AblationSettings.
    """
    splits: dict[Any, Splits] = {}

    def data_of(config: Config) -> Splits:
        if config.data not in splits:
            splits.clear()  # one at a time: cells come seed by seed, data sets may be large
            splits[config.data] = load_data(config.data)
        return splits[config.data]

    def execute(arm: str, rate: float | None, seed: int) -> dict[str, Any]:
        changes = settings.changes(arm)
        baseline = changes.pop('baseline', None)
        seeds = {'seed': seed, 'data.seed': seed}
        tuned = {} if rate is None else {'optimizer.learning_rate': rate}
        config = read_config(merged(values, {**changes, **seeds, **tuned}))
        data = data_of(config)
        if baseline is not None:
            return baseline_row(baseline, data)
        try:
            fitted, result = train(prepare(config, data), progress=False)
        except (Diverged, NonFinitePredictions) as error:
            return {'status': 'diverged', 'reason': str(error)}
        kept = ('params_total', 'params_trainable', 'optimizer_bytes', 'step_flops')
        return {
            'status': 'ok',
            'val': {k: v for k, v in fitted.validation.items() if k != 'score'},
            'test': numbers_of(result['metrics']),
            **{key: result[key] for key in kept},
            **{key: result[key] for key in ('wall_seconds', 'step_seconds_median')},
            'frozen_unchanged': result['frozen_unchanged'],
            'best_step': result['best_step'],
            'data_fingerprint': result['data_fingerprint'],
        }

    return execute


def baseline_row(name: str, data: Splits) -> dict[str, Any]:
    """The row of an arm without a network."""
    check_name(name, ('pixels',), 'baseline')
    if data.train.kind == 'text':
        raise UserError(f'baseline {name!r}: {data.train.name} holds texts, which have no pixels')
    parts = [(part.inputs, part.labels) for part in (data.train, data.val, data.test)]
    outputs, accuracy, penalty = pixel_regression(*parts)
    return {
        'status': 'ok',
        'val': {'accuracy': accuracy},
        'test': numbers_of(evaluate(outputs, data.test.labels, class_names=data.class_names)),
        'penalty': penalty,
    }


def numbers_of(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics that are single numbers."""
    return {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
