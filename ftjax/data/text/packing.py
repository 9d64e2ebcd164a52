"""Several texts in one row: which go together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def first_fit(lengths: np.ndarray, room: int) -> list[list[int]]:
    """Positions of texts by row, so that no row has more than `room` tokens.

    The longest text first, each into the first row that has room for it: at most 11/9 of the fewest
    possible rows, and one more (Johnson et al. 1974, doi:10.1137/0203025). What rows hold follows
    from the lengths alone.

    Args:
      lengths: tokens of each text, none above `room`.
      room: tokens of a row.

    >>> first_fit(np.array([3, 5, 2, 6]), 8)
    [[3, 2], [1, 0]]
    """
    rows: list[list[int]] = []
    left = np.zeros(len(lengths), np.int64)
    for text in np.argsort(-lengths, kind='stable'):
        fits = np.flatnonzero(left[: len(rows)] >= lengths[text])
        place = int(fits[0]) if len(fits) else len(rows)
        if place == len(rows):
            rows.append([])
            left[place] = room
        rows[place].append(int(text))
        left[place] -= lengths[text]
    return rows


def rows_needed(lengths: Sequence[np.ndarray], room: int, unit: int) -> int:
    """Rows that hold any of some batches of texts: the most that one needs, in whole units.

    >>> rows_needed([np.array([3, 5, 2, 6]), np.array([8, 8, 8, 8])], 8, 3)
    6
    """
    most = max(len(first_fit(each, room)) for each in lengths)
    return -(-most // unit) * unit
