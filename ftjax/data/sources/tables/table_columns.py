"""Columns of numbers and categories of a table: which there are, and their cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.data.missing import NO_NUMBERS, is_missing
from ftjax.data.settings import DataSettings
from ftjax.data.sources.tables.missing_cells import Column
from ftjax.data.sources.tables.table_row import Row, cell
from ftjax.data.tables.table_inputs import Table
from ftjax.errors import UserError, check_name


def no_number(value: object) -> bool:
    """Whether a cell of a column of numbers holds nothing: empty, NA, NaN, null."""
    if isinstance(value, str):
        return value.strip().lower() in NO_NUMBERS
    return value is None or (isinstance(value, float) and math.isnan(value))


def number_of(value: Any) -> float | None:
    """A cell as a number, NaN for nothing; None for what is neither."""
    if no_number(value):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def word_of(value: object) -> str:
    """A cell as a category, '' for nothing."""
    return '' if is_missing(value) else str(value).strip()


def feature_columns(
    names: Sequence[str], taken: Sequence[str], rows: Sequence[Row], settings: DataSettings
) -> list[Column]:
    """The columns that data.features names, or with `*` all columns of numbers.

    A column whose every value is a number is one of numbers, any other a category.

    Args:
      names: of all columns.
      taken: those that are label, split and so on: `*` leaves them out.
      rows: of all splits.

    Raises:
      UserError: a column that there is not, one that is taken, or no column of numbers for `*`.
    """
    wanted = [name for name in settings.features if name != '*']
    for name in wanted:
        check_name(name, names, 'column in data.features:')
        if name in taken:
            raise UserError(f'data.features: {name!r} is the label, split or group column')
    found = [_column(name, rows) for name in wanted]
    if '*' in settings.features:
        others = [name for name in names if name not in wanted and name not in taken]
        every = [_column(name, rows) for name in others]
        found += [column for column in every if column.what == 'number']
        if not found:
            told = ', '.join(names)
            raise UserError(f"data.features is '*', and no column holds numbers: {told}")
    return found


def _column(name: str, rows: Sequence[Row]) -> Column:
    numeric = all(number_of(cell(row, name)) is not None for row in rows)
    return Column(name, 'number', no_number) if numeric else Column(name, 'category')


def table_of(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    """The cells of these columns."""
    numbers = [column.name for column in columns if column.what == 'number']
    words = [column.name for column in columns if column.what == 'category']
    cells = [[number_of(row.cells[name]) for name in numbers] for row in rows]
    values = np.array(cells, np.float64)
    texts = np.empty((len(rows), len(words)), object)
    for place, name in enumerate(words):
        texts[:, place] = [word_of(row.cells[name]) for row in rows]
    return Table(values.reshape(len(rows), len(numbers)), texts, tuple(numbers), tuple(words))
