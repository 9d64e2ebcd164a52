"""|t| turned to a normal variable and back, for whole arrays and any degrees of freedom.

Source: D. L. Wallace (1959), Bounds on normal approximations to Student's and the chi-square
distributions, Annals of Mathematical Statistics 30, 1121-1130. Good to some hundredths of |z|
from 2 degrees of freedom on. It is a scale only: what is exceeded how often is found by drawing.
"""

from __future__ import annotations

import numpy as np


def normal_of_t(t: np.ndarray, df: np.ndarray) -> np.ndarray:
    """The |z| that is exceeded as often as |t| with df degrees of freedom is.

    >>> normal_of_t(np.array([2.776]), np.array([4.0])).round(2)
    array([1.95])
    """
    return _shrink(df) * np.sqrt(df * np.log1p(t**2 / df))


def t_of_normal(z: float | np.ndarray, df: float | np.ndarray) -> np.ndarray:
    """The inverse of `normal_of_t`."""
    return np.sqrt(df * np.expm1((z / _shrink(df)) ** 2 / df))


def df_of_ratio(ratio: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """The df at which |t| at `upper` is `ratio` times |t| at `lower`, both as normal variables.

    >>> t = t_of_normal(np.array([1.96, 2.81]), 5.0)
    >>> df_of_ratio(t[1] / t[0], 1.96, 2.81).round(1)
    np.float64(5.0)
    """
    grid = np.geomspace(0.5, 1e6, 400)
    ratios = t_of_normal(upper, grid) / t_of_normal(lower, grid)
    return np.exp(np.interp(ratio, ratios[::-1], np.log(grid)[::-1]))


def _shrink(df: float | np.ndarray) -> float | np.ndarray:
    return (8 * df + 1) / (8 * df + 3)
