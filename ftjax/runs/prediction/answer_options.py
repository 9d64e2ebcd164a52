"""How answers are given: what a user asks for, with what was fitted on validation data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError
from ftjax.evaluation.decisions import sigmoid
from ftjax.io.json.json_values import JsonObject
from ftjax.runs.prediction.calibration_file import read_calibration
from ftjax.runs.prediction.trained import Trained
from ftjax.tasks.answers import AnswerOptions
from ftjax.tasks.threshold import told_threshold

VALIDATION = 'validation'


def answer_options(
    trained: Trained,
    *,
    top_k: int = 0,
    probabilities: bool = True,
    calibrated: bool = True,
    threshold: str | float | None = None,
    coverage: float | None = None,
) -> tuple[AnswerOptions, list[str]]:
    """The options of a task's answers, and lines that say what of them was fitted.

    Args:
      trained: the network.
      top_k, probabilities: as of `AnswerOptions`.
      calibrated: use the temperature, where one was fitted.
      threshold: a probability, or `validation` for the one fitted on validation data, whose
        answers are the same with the temperature and without; None for the one of the run
        (`train.threshold`), where it has one.
      coverage: of the prediction sets; one of those whose quantiles were fitted.

    Raises:
      UserError: something that was to be fitted was not, or is no number.
    """
    given: dict[str, Any] = {'top_k': top_k, 'probabilities': probabilities}
    fitted = read_calibration(trained) if calibrated or threshold or coverage else None
    said = []
    if fitted and calibrated:
        given['temperature'] = fitted['temperature']
        said.append(
            f'probabilities are calibrated: temperature {fitted["temperature"]:.4g}, fitted on '
            f'{fitted["n"]:,} validation examples'
        )
    if threshold == VALIDATION:
        given |= _fitted_threshold(trained, _needed(trained, fitted), calibrated)
        said.append(f'a class is answered from a probability of {given["threshold"]:.4g} on')
    elif threshold is not None:
        given['threshold'] = _number(threshold)
    elif trained.threshold is not None:
        given |= {'threshold': trained.threshold, 'before_temperature': True}
        names = trained.class_names or ('the second class',)
        last = names if trained.settings.label_kind.several else names[-1:]
        said.append(f'as in the run, {told_threshold(trained.threshold, last)}')
    if coverage is not None:
        quantiles = _needed(trained, fitted)['quantiles']
        quantile = quantiles.get(str(float(coverage)))
        if quantile is None:
            known = ', '.join(key for key, value in quantiles.items() if value is not None)
            raise UserError(f'coverage {coverage:g} was not fitted; there are: {known or "none"}')
        given['nonconformity'] = quantile
        said.append(
            f'a set holds the class of {coverage:.0%} of inputs or more, if these are like the '
            'validation examples'
        )
    return AnswerOptions(**given), said


def _needed(trained: Trained, fitted: JsonObject | None) -> Mapping[str, Any]:
    if fitted is None:
        raise UserError(
            f'{trained.init}: nothing was fitted on validation data yet; '
            'scripts/evaluate.py --calibrate does it'
        )
    return fitted


def _fitted_threshold(
    trained: Trained, fitted: Mapping[str, Any], calibrated: bool
) -> dict[str, Any]:
    """The options of the threshold that was fitted, of probabilities with the temperature or not.

    The answers are the same: sigmoid(z / T) reaches t where sigmoid(z) reaches sigmoid(T logit(t)).
    """
    threshold = fitted['threshold']
    if threshold is None:
        raise UserError(f'{trained.init}: no threshold was fitted: its task has none')
    if calibrated or not 0 < threshold < 1:
        return {'threshold': threshold}
    odds = fitted['temperature'] * math.log(threshold / (1 - threshold))
    return {'threshold': float(sigmoid(odds)), 'before_temperature': True}


def _number(threshold: str | float) -> float:
    try:
        return float(threshold)
    except ValueError:
        raise UserError(
            f'threshold is {threshold!r}; expected a number or {VALIDATION!r}'
        ) from None
