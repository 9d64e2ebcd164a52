"""What outputs on a split come to: numbers of each unit, and sums; batches of them add up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Of some batches; `joined` is that of all.

    Attributes:
      rows: arrays with one row a unit (an example, a text): they are joined. 'index' is its
        position in the split, 'finite' whether the network answered with numbers, 'group' what it
        belongs to, where intervals resample groups.
      sums: arrays that are added: counts.
      outputs: numbers that the network gives for a unit.
    """

    rows: Mapping[str, np.ndarray]
    sums: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    outputs: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.rows.values()), ()))

    def to_tree(self) -> dict[str, Any]:
        """Plain dicts of arrays, to be sent to other processes."""
        return {'rows': dict(self.rows), 'sums': dict(self.sums), 'outputs': self.outputs}


def joined(parts: Sequence[Statistics]) -> Statistics:
    """The statistics of all parts, their rows in the order of the split.

    >>> a, b = (Statistics({'index': np.array([i])}, {'n': np.array(1)}) for i in (1, 0))
    >>> whole = joined([a, b])
    >>> whole.rows['index'].tolist(), int(whole.sums['n'])
    ([0, 1], 2)
    """
    if not parts:
        return Statistics({})
    rows = {name: _stacked([part.rows[name] for part in parts]) for name in parts[0].rows}
    order = np.argsort(rows['index'], kind='stable')
    return Statistics(
        {name: values[order] for name, values in rows.items()},
        {name: np.sum([part.sums[name] for part in parts], axis=0) for name in parts[0].sums},
        parts[0].outputs,
    )


def joined_of_all(trees: Sequence[Mapping[str, Any]]) -> Statistics:
    """`joined` of what processes had, from `to_tree`; some may have had no example.

    >>> own, none = Statistics({'index': np.array([0])}), Statistics({})
    >>> joined_of_all([none.to_tree(), own.to_tree()]).rows['index'].tolist()
    [0]
    """
    return joined([Statistics(**tree) for tree in trees if tree['rows']])


def _stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """One after the other; what is said of each word of a text has -1 after the shorter ones."""
    widths = {array.shape[1:] for array in arrays}
    if len(widths) == 1:
        return np.concatenate(arrays)
    longest = max(width[0] for width in widths)
    return np.concatenate(
        [np.pad(a, ((0, 0), (0, longest - a.shape[1])), constant_values=-1) for a in arrays]
    )


def grouped(found: Statistics, groups: Sequence[str] | np.ndarray) -> Statistics:
    """With the group of each row, a number; as they are where `groups` is empty.

    Args:
      found: of a whole split.
      groups: what each example of that split belongs to, in its order.

    >>> found = Statistics({'index': np.array([0, 2])})
    >>> grouped(found, ['a', 'b', 'a']).rows['group'].tolist()
    [0, 0]
    """
    if not len(groups) or not len(found):
        return found
    numbers = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    return dataclasses.replace(found, rows={**found.rows, 'group': numbers[found.rows['index']]})
