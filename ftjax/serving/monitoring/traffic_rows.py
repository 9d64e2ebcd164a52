"""Examples of traffic, a few numbers each: what windows keep a sample of and tests compare."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Rows:
    """Examples as a table of columns of the same length."""

    features: np.ndarray
    """float32 (n, width)."""
    values: np.ndarray
    """float32 (n,): the probability of the answer, or the value; NaN where unknown."""
    answers: np.ndarray
    """int32 (n,): the class answered, of several labels the most probable; -1 for none."""
    measures: np.ndarray
    """float32 (n, measures): sizes and gaps of the inputs; NaN where unknown."""

    def __len__(self) -> int:
        return len(self.values)

    def take(self, at: np.ndarray) -> Rows:
        """The examples at these positions."""
        return Rows(self.features[at], self.values[at], self.answers[at], self.measures[at])

    @staticmethod
    def joined(parts: list[Rows]) -> Rows:
        """All examples of some tables, in order."""
        return Rows(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in dataclasses.fields(Rows)
            )
        )

    @staticmethod
    def empty(width: int, measures: int, count: int = 0) -> Rows:
        """Room for so many examples."""
        return Rows(
            np.zeros((count, width), np.float32),
            np.zeros(count, np.float32),
            np.full(count, -1, np.int32),
            np.zeros((count, measures), np.float32),
        )
