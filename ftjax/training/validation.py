"""Validation during training: the score that picks the best weights, and when to stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from ftjax.data.dataset import MASKED_TOKENS
from ftjax.training.loss import example_losses


def score(outputs: Iterable[tuple[np.ndarray, dict]], task: str) -> dict[str, float]:
    """Loss and accuracy (or mean squared error, or micro F1), padding left out by the mask.

    `score` is what larger is better of: accuracy for classes, minus the error for numbers, the
    micro F1 at probability 1/2 for several labels an example, minus the loss for masked tokens.
    Numbers have their correlations beside it, unless one side is constant.
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
    loss = float(sums[0] / sums[2])
    if task == 'regression':
        return {'loss': loss, 'mse': loss, **_correlations(numbers), 'score': -loss}
    if task == 'multilabel':
        f1 = float(2 * hits / marks) if marks else 0.0
        return {'loss': loss, 'f1_micro': f1, 'score': f1}
    accuracy = float(sums[1] / sums[2])
    if task == MASKED_TOKENS:
        return {'loss': loss, 'accuracy': accuracy, 'score': -loss}
    return {'loss': loss, 'accuracy': accuracy, 'score': accuracy}


def rank(values: dict[str, float]) -> float:
    """What the best validation has most of: the score, and of equal scores the lower loss."""
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
    """The best validation, and how many have passed since."""

    patience: int | None = None
    step: int = -1
    score: float = -np.inf
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    since: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.since >= self.patience

    def update(self, step: int, score: float, values: dict[str, float]) -> bool:
        """Takes a validation in; says whether it is the best (ties go to the lower loss)."""
        if self.step < 0 or rank(values) > rank(self.values):
            self.step, self.score, self.values, self.since = step, score, dict(values), 0
            return True
        self.since += 1
        return False

    def to_json(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {'step': self.step, 'score': self.score, 'values': self.values, 'since': self.since}

    @classmethod
    def from_json(cls, saved: dict[str, Any], patience: int | None) -> BestSoFar:
        """The inverse of to_json."""
        return cls(patience, saved['step'], saved['score'], dict(saved['values']), saved['since'])
