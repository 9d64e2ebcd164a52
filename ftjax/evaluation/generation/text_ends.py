"""Where a text that is written ends, and what stands in it for what is no token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BROKEN = -1
"""In place of a token where the network's numbers are not finite; it ends the text."""


def upto_end(tokens: np.ndarray, ends: Sequence[int]) -> np.ndarray:
    """Tokens up to, not including, the first that ends a text.

    >>> upto_end(np.array([5, 6, 2, 0]), [2]).tolist()
    [5, 6]
    """
    found = np.flatnonzero(np.isin(tokens, list(ends)))
    return tokens[: found[0]] if len(found) else tokens
