"""The examples of all splits under one numbering, which every check of the audit uses."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from ftjax.data.dataset import Dataset, Splits

NAMES = ('train', 'val', 'test')
SHOWN = {'train': 'training', 'val': 'validation', 'test': 'test'}
"""What splits are called in sentences."""


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Positions 0 .. n - 1 over training, validation and test examples, in this order."""

    splits: Splits

    @functools.cached_property
    def parts(self) -> tuple[Dataset, ...]:
        """The three splits."""
        return self.splits.train, self.splits.val, self.splits.test

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """(4,): where each split begins, and the number of all examples."""
        return np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @functools.cached_property
    def split(self) -> np.ndarray:
        """(n,) int8: 0 for training, 1 for validation, 2 for test examples."""
        return np.repeat(np.arange(3, dtype=np.int8), [len(part) for part in self.parts])

    def place(self, position: int) -> tuple[Dataset, int]:
        """The split that an example is in, and its position there."""
        of = int(self.split[position])
        return self.parts[of], int(position - self.starts[of])

    def within(self, name: str) -> slice:
        """The positions of a split."""
        of = NAMES.index(name)
        return slice(int(self.starts[of]), int(self.starts[of + 1]))

    def id(self, position: int) -> str:
        """The id of an example."""
        part, at = self.place(position)
        return str(part.ids[at])

    def named(self, position: int) -> str:
        """`test 0013.jpg`, for messages."""
        return f'{NAMES[self.split[position]]} {self.id(position)}'

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """(n, ..), those of the splits one after the other."""
        return np.concatenate([part.labels for part in self.parts])

    @property
    def labelled(self) -> bool:
        """Whether labels are data, and not made from the inputs."""
        kind = self.splits.label_kind
        return kind.compared and not kind.from_inputs

    def label(self, position: int) -> str:
        """The label of an example as people read it."""
        if not self.labelled:
            return ''
        return self.splits.label_kind.told(self.labels[position], self.splits.class_names)

    def same_label(self, positions: Sequence[int] | np.ndarray) -> bool:
        """Whether examples have one label; always where labels are made from the inputs."""
        if not self.labelled:
            return True
        of = self.labels[np.asarray(positions)]
        return bool((of == of[0]).all())

    def blocks(self) -> Iterator[tuple[str, Dataset, slice]]:
        """(name, split, positions) of each split that has examples."""
        for name, part in zip(NAMES, self.parts, strict=True):
            if len(part):
                yield name, part, self.within(name)
