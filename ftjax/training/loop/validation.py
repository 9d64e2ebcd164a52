"""Validation during training: the score that picks the best weights, and when to stop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.errors import UserError
from ftjax.evaluation.metric import Metric
from ftjax.freezing.plan.plan import Plan
from ftjax.io.json.json_values import JsonObject
from ftjax.tasks.metrics import check_metric
from ftjax.tasks.registry import loss_of, task_of
from ftjax.tasks.threshold import fixed
from ftjax.training.settings import TrainSettings


def check_validation(settings: TrainSettings, plan: Plan, val: Dataset) -> None:
    """Raises UserError where validation examples decide something and there are none.

    Also where train.metric is none that the task has.
    """
    loss_of(settings.loss, val.task)
    check_threshold_choice(settings.threshold, val)
    if settings.metric:
        check_metric(settings.metric, val.task, val.num_outputs, 'config.train.metric:')
    if len(val):
        return
    needs = {
        "train.keep='best'": settings.keep == 'best',
        'train.patience': settings.patience is not None,
        f'config.freeze {plan.strategy!r}': plan.term('weights') is not None,
    }
    for what, asked in needs.items():
        if asked:
            remedy = "; train.keep='last' keeps the last weights" if 'keep' in what else ''
            raise UserError(
                f'{what} chooses by validation, and {val.name} holds no examples: give it some '
                f'(data.val_fraction, data.val_per_class){remedy}'
            )


def check_threshold_choice(threshold: str, val: Dataset) -> None:
    """Raises UserError where a decision threshold has no meaning, or no examples to go by."""
    if not threshold:
        return
    if val.label_kind.several:
        held = val.labels.mean(axis=0) if len(val) else np.zeros(1)
        if fixed(threshold) is None and not ((held > 0) & (held < 1)).any():
            raise UserError(
                f'train.threshold {threshold!r} is chosen on validation examples, and in '
                f'{val.name} there is no class that some have and some have not'
            )
        return
    if not val.label_kind.one_class or val.num_classes != 2:
        classes = f'{val.num_classes} classes' if val.num_classes else 'none'
        raise UserError(
            'train.threshold needs a task of two classes, or of several labels; '
            f'{val.task} has {classes}'
        )
    counts = val.label_kind.counts(val.labels, 2) or [0, 0]
    if 0 in counts and fixed(threshold) is None:
        missing = val.class_names[counts.index(0)]
        raise UserError(
            f'train.threshold {threshold!r} is chosen on validation examples, and {val.name} has '
            f'none of class {missing!r}; hold out more (data.val_fraction), or give a number'
        )


def defined(values: dict[str, float]) -> bool:
    """Whether a validation gave numbers: outputs that are NaN have an accuracy too.

    >>> defined({'score': 0.5, 'loss': float('nan')}), defined({})
    (False, False)
    """
    return math.isfinite(values.get('score', math.nan)) and not math.isnan(values['loss'])


def rank(values: dict[str, float]) -> float:
    """What the best validation has most of: the score, and of equal scores the lower loss.

    Below all others where the validation gave no numbers.
    """
    if not defined(values):
        return -math.inf
    # Loss counts for less than one example of a million; a score of -loss keeps its order.
    return values['score'] + 1e-6 / (1 + max(values['loss'], 0.0))


def decision(
    settings: TrainSettings, task: str, values: Mapping[str, object], step: int, done: int
) -> str:
    """Which metric of the validation decided what, and its value, in words.

    Args:
      settings: of the run: `keep`, `patience` and `metric`.
      task: its name.
      values: metrics of the best validation; {} where there was none.
      step: of the best validation; -1 for an average of several runs.
      done: the run's steps.

    >>> decision(TrainSettings(), 'classification', {'accuracy': 0.5, 'loss': 1.0}, 20, 30)
    'weights of step 20 of 30, of the best validation accuracy: 0.5 (higher is better)'
    """
    metric = deciding_metric(settings, task)
    # They may come from a file.
    value = metric.value_in({k: x for k, x in values.items() if isinstance(x, (int, float))})
    if value is None:
        return f'weights of the last step, {done}: no validation gave a number for {metric.label}'
    better = 'higher' if metric.higher_is_better else 'lower'
    said = f'validation {metric.label}: {value:.6g} ({better} is better)'
    if step < 0:
        return f'averaged weights; their {said}'
    if settings.keep == 'best':
        return f'weights of step {step} of {done}, of the best {said}'
    return f'weights of the last step, {done}; step {step} had the best {said}'


def deciding_metric(settings: TrainSettings, task: str) -> Metric:
    """The metric that `keep` and `patience` go by."""
    known = task_of(task)
    found = known.metric(settings.metric or known.default_metric)
    assert found is not None  # `check_validation` has refused it
    return found


@dataclasses.dataclass
class BestSoFar:
    """The best validation, and how many have passed since.

    Of validations without numbers the last is kept: there is nothing to choose by.
    """

    patience: int | None = None
    step: int = -1
    score: float = -np.inf
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    since: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.since >= self.patience

    @property
    def defined(self) -> bool:
        """Whether any validation gave numbers."""
        return defined(self.values)

    def update(self, step: int, values: dict[str, float]) -> bool:
        """Takes a validation in; says whether it is the best (ties go to the lower loss)."""
        first, better = self.step < 0, rank(values) > rank(self.values)
        self.since = 0 if first or better else self.since + 1
        if first or better or not self.defined:
            self.step, self.score = step, values.get('score', math.nan)
            self.values = dict(values)
            return True
        return False

    def to_json(self, metric: Metric) -> dict[str, Any]:
        """Plain values for a checkpoint; `metric` is what the score is of."""
        told = {'step': self.step, 'score': self.score, 'values': self.values, 'since': self.since}
        return {**told, 'metric': metric.name}

    @classmethod
    def from_json(cls, saved: JsonObject, patience: int | None, metric: Metric) -> BestSoFar:
        """The inverse of to_json; scored anew, or empty, where another metric decides now."""
        values = dict(saved['values'])
        if saved.get('metric', metric.name) == metric.name:
            return cls(patience, saved['step'], saved['score'], values, saved['since'])
        value = metric.value_in(values)
        if value is None:
            return cls(patience)
        score = metric.sign * value
        return cls(patience, saved['step'], score, {**values, 'score': score})
