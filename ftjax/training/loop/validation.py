"""Validation during training: the score that picks the best weights, and when to stop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ftjax.data.dataset import MASKED_TOKENS, Dataset
from ftjax.errors import UserError
from ftjax.evaluation.metric import default_metric
from ftjax.freezing.plan.plan import Plan
from ftjax.tasks.losses import example_losses
from ftjax.training.settings import TrainSettings


def score(outputs: Iterable[tuple[np.ndarray, dict]], task: str) -> dict[str, float]:
    """Loss and accuracy (or mean squared error, or micro F1), padding left out by the mask.

    `score` is what larger is better of: the task's default metric, with its sign turned where
    lower is better. So the accuracy for classes, minus the error for numbers, the micro F1 at
    probability 1/2 for several labels an example, minus the loss for masked tokens. Numbers have
    their correlations beside it, unless one side is constant. {} where there is no example.
    """
    numbers: list[np.ndarray] = []
    sums = np.zeros(3)
    hits, marks = 0.0, 0.0  # labels found, and those predicted plus those that are true
    for values, batch in outputs:
        mask = np.asarray(batch['mask'], np.float64)
        losses = np.asarray(example_losses(values, batch['labels'], task), np.float64)
        right = np.zeros_like(mask)
        if task == 'regression':
            real = mask > 0
            numbers.append(np.stack([values[real, 0], np.asarray(batch['labels'])[real]]))
        if task in ('classification', MASKED_TOKENS):
            right = values.argmax(axis=-1) == np.asarray(batch['labels'])
        elif task == 'multilabel':
            found, true = values > 0, np.asarray(batch['labels']) > 0
            hits += ((found & true).sum(axis=-1) * mask).sum()
            marks += ((found.sum(axis=-1) + true.sum(axis=-1)) * mask).sum()
        sums += [(losses * mask).sum(), (right * mask).sum(), mask.sum()]
    if not sums[2]:
        return {}
    found = {'loss': float(sums[0] / sums[2])}
    if task == 'regression':
        found |= {'mse': found['loss'], **_correlations(numbers)}
    elif task == 'multilabel':
        found['f1_micro'] = float(2 * hits / marks) if marks else 0.0
    else:
        found['accuracy'] = float(sums[1] / sums[2])
    metric = default_metric(task)
    return {**found, 'score': metric.sign * found[metric.name]}


def check_validation(settings: TrainSettings, plan: Plan, val: Dataset) -> None:
    """Raises UserError where validation examples decide something and there are none."""
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


def _correlations(numbers: list[np.ndarray]) -> dict[str, float]:
    from scipy import stats

    predicted, true = np.concatenate(numbers, axis=1).astype(np.float64)
    if len(true) < 2 or np.ptp(true) == 0 or not np.ptp(predicted) > 0:  # NaN fails it too
        return {}
    return {
        'pearson': float(stats.pearsonr(predicted, true).statistic),
        'spearman': float(stats.spearmanr(predicted, true).statistic),
    }


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

    def to_json(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {'step': self.step, 'score': self.score, 'values': self.values, 'since': self.since}

    @classmethod
    def from_json(cls, saved: dict[str, Any], patience: int | None) -> BestSoFar:
        """The inverse of to_json."""
        return cls(patience, saved['step'], saved['score'], dict(saved['values']), saved['since'])
