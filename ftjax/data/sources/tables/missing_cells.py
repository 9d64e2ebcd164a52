"""Rows of a table with empty cells: counted, then refused, left out, filled or kept unlabelled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.missing import KEY, is_missing, rule_of
from ftjax.data.settings import DataSettings
from ftjax.data.sources.tables.table_row import Row, cell
from ftjax.errors import UserError, check_name
from ftjax.registry import Term

Rows = dict[str, list[Row]]
"""By split."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One column that is used, and what a missing value of it is."""

    name: str
    what: str
    """`label`, `text`, `path` or `number`; messages say it."""
    missing: Callable[[Any], bool] = is_missing


def whole_rows(
    rows: Rows, columns: Sequence[Column], settings: DataSettings, notes: list[str]
) -> tuple[Rows, list[Row]]:
    """(rows by split with a value in each column, or one put in; rows kept without a label).

    Where a number or a category is missing and is to be filled the cell stays empty: what fills
    it is fitted once the training rows are known.

    Args:
      rows: by split.
      columns: that are used.
      settings: `data.missing` says the rules.
      notes: gets a sentence for each column whose rows were left out, filled or kept apart.

    Raises:
      UserError: a value is missing and may not be, with the count and the first lines; a rule of
        a column that is not used, or that cannot be of it.
    """
    if isinstance(settings.missing, Mapping):
        for name in settings.missing:
            check_name(name, [column.name for column in columns], f'column in {KEY}:')
    unlabelled: list[Row] = []
    rules = {c.name: rule_of(settings.missing, c.name, c.what == 'label') for c in columns}
    for column in columns:
        _check_rule(rules[column.name], column)
    for column in columns:
        every = [(split, row) for split in rows for row in rows[split]]
        gaps = {id(row) for _, row in every if column.missing(cell(row, column.name))}
        rule = rules[column.name]
        does = rule.details.rows
        if not gaps or (does == 'fill' and column.what in ('number', 'category')):
            continue
        found = [row for _, row in every if id(row) in gaps]
        if does == 'refuse':
            raise UserError(_refusal(column, found, len(every)))
        notes.append(f'{_lines(found)}: {_TOLD[does].format(n=_rows(len(found)))} {column.name!r}')
        if does == 'fill':
            value = rule(np.array([], object))  # a constant: texts take no other
            rows = {
                split: [_with(row, column.name, value) if id(row) in gaps else row for row in own]
                for split, own in rows.items()
            }
            continue
        unlabelled += found if does == 'unlabelled' else []
        rows = {split: [r for r in own if id(r) not in gaps] for split, own in rows.items()}
    return rows, unlabelled


_TOLD = {
    'leave out': '{n} left out without a value in',
    'fill': '{n} filled in',
    'unlabelled': '{n} kept apart as unlabelled, without',
}


def _check_rule(rule: Term, column: Column) -> None:
    does = rule.details.rows
    if rule.arguments.get('indicator') and column.what in ('category', 'text'):
        raise UserError(
            f'{KEY} of column {column.name!r} has an indicator, which only numbers have; for a '
            f"{column.what} 'constant:missing' puts a value of its own into gaps"
        )
    wrong = does == 'unlabelled' and column.what != 'label'
    wrong |= does == 'fill' and column.what in ('label', 'path')
    wrong |= column.what == 'text' and rule.name not in ('error', 'drop', 'constant')
    wrong |= column.what == 'category' and rule.name in ('median', 'mean')
    if wrong:
        takes = {
            'label': 'error, drop or keep',
            'path': 'error or drop',
            'text': 'error, drop or constant:VALUE',
            'category': 'error, drop, mode or constant:VALUE',
        }
        expected = takes.get(column.what, 'error, drop, median, mean, mode or constant:NUMBER')
        raise UserError(
            f'{KEY} of column {column.name!r} is {rule.name!r}; a {column.what} takes {expected}'
        )


def _refusal(column: Column, found: Sequence[Row], count: int) -> str:
    first = found[0]
    said = f'{column.name!r} is {cell(first, column.name)!r}; expected a {column.what}'
    if column.what == 'label':
        said = 'the label is missing; give one or remove the example'
    more = f' (so it is in {len(found):,} of {count:,} rows: {_lines(found)})'
    keeps = ", 'keep' uses them as unlabelled" if column.what == 'label' else ''
    if column.what == 'number':
        keeps = ", 'median' fills them in"
    return (
        f'{first.where}: {said}{more if len(found) > 1 else ""}; '
        f"{KEY}={{{column.name!r}: 'drop'}} leaves such rows out{keeps}"
    )


def _lines(found: Sequence[Row]) -> str:
    few = ', '.join(str(row.line) for row in found[:3])
    return f'{found[0].file.name} line{"s" * (len(found) > 1)} {few}{", .." * (len(found) > 3)}'


def _rows(count: int) -> str:
    return f'{count:,} row{"s" * (count > 1)}'


def _with(row: Row, column: str, value: object) -> Row:
    return dataclasses.replace(row, cells={**row.cells, column: value})
