"""Mean and standard deviation of columns of numbers, exact where a column never varies."""

from __future__ import annotations

import numpy as np


def mean_and_deviation(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation along the first axis; 0 is the deviation of equal numbers.

    Args:
      values: (N, ..) of floats, without gaps; N is at least 1.

    >>> fees = np.full(65, 0.1)
    >>> bool(fees.std()), [float(each) for each in mean_and_deviation(fees)]
    (True, [0.1, 0.0])
    """
    # Sums of equal floats are rounded: their mean may be off by a digit, and their deviation is
    # then not 0 but 1e-17, by which another value would be divided.
    equal = values.min(axis=0) == values.max(axis=0)
    mean = np.where(equal, values[0], values.mean(axis=0))
    return mean, np.where(equal, 0.0, values.std(axis=0))
