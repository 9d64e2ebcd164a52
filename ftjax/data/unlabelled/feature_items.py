"""Rows of numbers and categories without labels, as a network that takes tables reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.sources.tables.table_columns import number_of, word_of
from ftjax.data.sources.tables.table_row import HeldRow, Row, cell
from ftjax.data.tables.table_inputs import Table
from ftjax.data.unlabelled.items import Found, Item, Unreadable
from ftjax.errors import UserError, did_you_mean, shown
from ftjax.preprocessing.table_features import TablePreprocessing


def feature_items(rows: Iterable[Row | Unreadable], table: TablePreprocessing) -> Iterator[Found]:
    """The cells of each row that the network takes; a row that cannot be read is left out.

    Args:
      rows: of a file or a frame; there may be more columns than are wanted, in any order.
      table: the network's.

    Raises:
      UserError: the first row lacks a column; the nearest name is said.
    """
    first = True
    for row in rows:
        if isinstance(row, Unreadable):
            yield row
            continue
        if first:
            for column in (*table.numbers, *table.categories):
                if column.name not in row.cells:
                    near = did_you_mean(column.name, row.cells)
                    raise UserError(f'{row.file}: no column {column.name!r}; {near}')
        first = False
        try:
            yield Item(row.id, _cells(row, table))
        except UserError as error:
            yield Unreadable(row.id, str(error))


def table_inputs(items: Sequence[Item], table: TablePreprocessing) -> Table:
    """The values of `feature_items` as the inputs of a data set.

    >>> from ftjax.preprocessing.table_features import NumberColumn
    >>> age = TablePreprocessing(numbers=(NumberColumn(name='age', mean=30.0, deviation=10.0),))
    >>> table_inputs([Item('a', ([50.0], [])), Item('b', ([20.0], []))], age).numbers.tolist()
    [[50.0], [20.0]]
    """
    numbers = np.array([item.value[0] for item in items], np.float64)
    words = np.empty((len(items), len(table.categories)), object)
    for place, item in enumerate(items):
        words[place] = item.value[1]
    return Table(
        numbers.reshape(len(items), len(table.numbers)),
        words,
        tuple(column.name for column in table.numbers),
        tuple(column.name for column in table.categories),
    )


def frame_rows(x: Any, file: Any) -> Iterator[Row | Unreadable]:
    """Rows of a pandas frame, or of a list of mappings; ids are positions."""
    records = x.to_dict('records') if hasattr(x, 'to_dict') and hasattr(x, 'columns') else x
    for number, record in enumerate(records):
        if isinstance(record, Mapping):
            yield HeldRow(file, number, {str(name): value for name, value in record.items()})
        else:
            yield Unreadable(f'{number:06d}', f'is {shown(record)}; expected a value a column')


def _cells(row: Row, table: TablePreprocessing) -> tuple[list[float], list[str]]:
    """(numbers, categories) of a row, NaN and '' for gaps that are filled in."""
    numbers, words = [], []
    for column in table.numbers:
        value = cell(row, column.name)
        number = number_of(value)
        if number is None:
            raise UserError(f'{column.name!r} is {shown(value)}; expected a number')
        if math.isnan(number) and column.fill is None:
            raise UserError(_gap(column.name))
        numbers.append(number)
    for column in table.categories:
        word = word_of(cell(row, column.name))
        if not word and column.fill is None:
            raise UserError(_gap(column.name))
        words.append(word)
    return numbers, words


def _gap(name: str) -> str:
    return f'no value in {name!r}; the network was trained on rows with one'
