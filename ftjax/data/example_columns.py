"""Numbers of each training example that a loss finds in its batch, beside inputs and labels."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One array with a row an example, made when it is first asked for.

    >>> column = Column.of(np.array([3.0, 4.0, 5.0]))
    >>> column.take([2, 0]).rows(np.array([0])).tolist()
    [5.0]
    """

    count: int
    """Examples."""
    shape: tuple[int, ...]
    """Of one example; () for a number."""
    identity: str
    """A hash of all that decides its numbers, beside the examples themselves."""
    make: Callable[[], np.ndarray]
    """Gives (count, *shape), or more rows where `positions` pick from them."""
    positions: np.ndarray | None = None
    """Which rows of `make` are those of the examples; None for all, in order."""
    notes: tuple[str, ...] = ()
    """What people should know of it, a sentence each."""

    @classmethod
    def of(cls, values: np.ndarray) -> Column:
        """A column of numbers that are there."""
        values = np.ascontiguousarray(values, np.float32)
        digest = hashlib.sha256(f'{values.shape} '.encode() + values.tobytes())
        return cls(
            count=len(values),
            shape=values.shape[1:],
            identity=digest.hexdigest(),
            make=lambda: values,
        )

    @functools.cached_property
    def made(self) -> np.ndarray:
        """What `make` gives, made once."""
        return self.make()

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Of the examples at these positions: float32 (n, *shape)."""
        where = indices if self.positions is None else self.positions[indices]
        return np.asarray(self.made[where], np.float32)

    def take(self, indices: Sequence[int] | np.ndarray) -> Column:
        """That of some of the examples."""
        where = np.asarray(indices, np.int64)
        where = where if self.positions is None else self.positions[where]
        return dataclasses.replace(self, count=len(where), make=lambda: self.made, positions=where)
