"""Rows of a table as they were read: numbers with gaps, and words."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """The inputs of a data set of kind `table`.

    Attributes:
      numbers: float64 (N, columns), NaN where a value is missing.
      words: object array (N, columns) of str, '' where a value is missing.
      number_names: of the columns of numbers.
      word_names: of the columns of words.
    """

    numbers: np.ndarray
    words: np.ndarray
    number_names: tuple[str, ...]
    word_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, indices: Any) -> Table:
        """The rows at these positions."""
        return dataclasses.replace(self, numbers=self.numbers[indices], words=self.words[indices])

    def told(self, index: int) -> str:
        """A row for people: `age 41, city Bern`; what is missing is left out."""
        numbers = zip(self.number_names, self.numbers[index], strict=True)
        words = zip(self.word_names, self.words[index], strict=True)
        cells = [f'{name} {value:.6g}' for name, value in numbers if not np.isnan(value)]
        return ', '.join([*cells, *(f'{name} {value}' for name, value in words if value)])

    @property
    def rows(self) -> list[bytes]:
        """A key of each row, equal for equal rows."""
        numbers = np.ascontiguousarray(self.numbers)
        words = ['\0'.join(row).encode('utf-8', 'surrogatepass') for row in self.words]
        return [row.tobytes() + b'\0' + text for row, text in zip(numbers, words, strict=True)]

    @property
    def signature(self) -> str:
        """SHA-256 (hex) of names and cells."""
        digest = hashlib.sha256(repr((self.number_names, self.word_names)).encode())
        for row in self.rows:
            digest.update(hashlib.sha256(row).digest())
        return digest.hexdigest()
