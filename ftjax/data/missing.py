"""Missing values: what `data.missing` says of a column, and what fills a gap.

A rule leaves rows out, refuses them, or fills the gap by a value that is taken from the training
rows alone and kept with the model.
"""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.errors import UserError, shown
from ftjax.part_arguments import read_value
from ftjax.preprocessing.spread import mean_and_deviation
from ftjax.registry import Term, parse, register

KEY = 'data.missing'
NO_NUMBERS = frozenset({'', 'na', 'n/a', 'nan', 'null', 'none', '?', '-'})
"""What cells of numbers hold where a value is missing, in small letters."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """The `details` of a rule: what happens to a row whose cell is empty.

    `fill` parts are called with the column's training values, a float64 array without gaps (of
    categories and texts: an object array of str), and return what is put in.
    """

    rows: str = 'fill'
    """`refuse`, `leave out`, `unlabelled` (kept without a label) or `fill`."""


@register('missing', 'error', details=Rule('refuse'))
def error(values: np.ndarray) -> Any:
    """Refuses the data, and counts the rows without a value."""


@register('missing', 'drop', details=Rule('leave out'))
def drop(values: np.ndarray) -> object:
    """Leaves out rows without a value."""


@register('missing', 'keep', details=Rule('unlabelled'))
def keep(values: np.ndarray) -> object:
    """Keeps rows without a label as unlabelled examples; for the label's column."""


@register('missing', 'median', details=Rule())
def median(values: np.ndarray, indicator: bool = False) -> float:
    """The median of the training rows; with `indicator`, of numbers, 0 or 1 tells of gaps."""
    return float(np.median(values))


@register('missing', 'mean', details=Rule())
def mean(values: np.ndarray, indicator: bool = False) -> float:
    """The mean of the training rows; `indicator` as of median."""
    return float(mean_and_deviation(values)[0])


@register('missing', 'mode', details=Rule())
def mode(values: np.ndarray, indicator: bool = False) -> Any:
    """The most frequent value of the training rows, the lowest of equals; `indicator` likewise."""
    found, counts = np.unique(values, return_counts=True)
    return found[np.argmax(counts)].item() if found.dtype != object else found[np.argmax(counts)]


@register('missing', 'constant', details=Rule())
def constant(values: np.ndarray, value: str = '0', indicator: bool = False) -> object:
    """A value of your own; `indicator` as of median."""
    if values.dtype == object:
        return value
    return read_value(value, 0.0, f'{KEY} constant')


def read_missing(given: object) -> str | dict[str, str]:
    """What a config says: one rule for all columns of inputs, or rules by column; checked.

    >>> read_missing('median'), read_missing("{'label': 'drop', 'age': 'median:true'}")
    ('median', {'label': 'drop', 'age': 'median:true'})
    """
    if isinstance(given, str) and given.lstrip().startswith('{'):
        try:
            given = ast.literal_eval(given.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise UserError(f'{KEY} is {shown(given)}; {_EXPECTED}') from None
    if isinstance(given, str):
        if given:
            parse('missing', given, KEY)
        return given
    if not isinstance(given, Mapping) or not all(isinstance(rule, str) for rule in given.values()):
        raise UserError(f'{KEY} is {shown(given)}; {_EXPECTED}')
    for name, rule in given.items():
        parse('missing', rule, f'{KEY} of column {name!r}')
    return {str(name): rule for name, rule in given.items()}


_EXPECTED = "expected a rule such as 'drop', or a mapping of columns, {'age': 'median'}"


def rule_of(given: str | Mapping[str, str], column: str, is_label: bool = False) -> Term:
    """The rule of a column; `error` where nothing is said. One rule for all is not of the label."""
    if isinstance(given, str):
        text = '' if is_label else given
    else:
        text = given.get(column, '')
    return parse('missing', text or 'error', f'{KEY} of column {column!r}')


def is_missing(value: object) -> bool:
    """Whether a cell of a text, a path or a label holds nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and not value.strip()
