"""Validation during training: the score that picks the best weights, and when to stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from ftjax.training.loss import example_losses


def score(outputs: Iterable[tuple[np.ndarray, dict]], task: str) -> dict[str, float]:
    """Loss and accuracy (or mean squared error) of a split, padding left out by the mask.

    `score` is what larger is better of: accuracy for classes, minus the error for numbers.
    """
    sums = np.zeros(3)
    for values, batch in outputs:
        mask = np.asarray(batch['mask'], np.float64)
        losses = np.asarray(example_losses(values, batch['labels'], task), np.float64)
        right = (
            np.zeros_like(mask)
            if task == 'regression'
            else values.argmax(axis=-1) == np.asarray(batch['labels'])
        )
        sums += [(losses * mask).sum(), (right * mask).sum(), mask.sum()]
    loss = float(sums[0] / sums[2])
    if task == 'regression':
        return {'loss': loss, 'mse': loss, 'score': -loss}
    accuracy = float(sums[1] / sums[2])
    return {'loss': loss, 'accuracy': accuracy, 'score': accuracy}


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
        rank = (score, -values['loss'])
        if rank > (self.score, -self.values.get('loss', np.inf)):
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
