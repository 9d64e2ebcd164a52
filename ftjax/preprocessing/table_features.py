"""What a network expects of the rows of a table; it travels with the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.errors import UserError, check_name
from ftjax.io.json.json_values import (
    Flag,
    JsonObject,
    Kind,
    ListOf,
    Number,
    Table,
    Text,
    check_table,
    optional,
)

_KIND = 'table'  # in JSON, tells these fields from those of images and texts
_ANY = Number(-1e308, 1e308)
_NUMBER: dict[str, Kind] = {
    'name': Text(),
    'mean': _ANY,
    'deviation': Number(0, 1e308, low_belongs=False),
    'fill': optional(_ANY),
    'indicator': Flag(),
}
_CATEGORY: dict[str, Kind] = {
    'name': Text(),
    'levels': ListOf(Text(), 0, 2**20),
    'fill': optional(Text()),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberColumn:
    """(value - mean) / deviation, of the training rows; a gap is filled first."""

    name: str
    mean: float
    deviation: float
    fill: float | None = None
    """None where gaps are refused."""
    indicator: bool = False
    """Whether a further feature is 1 where there was a gap."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CategoryColumn:
    """One feature a level, or one code; a level that training has not seen is `unknown`."""

    name: str
    levels: tuple[str, ...]
    fill: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TablePreprocessing:
    """From the cells of a table to what a network takes.

    >>> age = NumberColumn(name='age', mean=30.0, deviation=10.0, fill=40.0, indicator=True)
    >>> town = CategoryColumn(name='town', levels=('Bonn', 'Ulm'))
    >>> table = TablePreprocessing(numbers=(age,), categories=(town,))
    >>> cells = np.array([[50.0], [np.nan]]), np.array([['Ulm'], ['Rom']], object)
    >>> table.apply(*cells, ('age',), ('town',))['features'].tolist()
    [[2.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]]
    """

    numbers: tuple[NumberColumn, ...] = ()
    categories: tuple[CategoryColumn, ...] = ()
    embedded: bool = False
    """Whether categories are codes for tables that the network learns, and not features."""

    @property
    def features(self) -> int:
        """Numbers that the network gets of a row."""
        own = sum(1 + column.indicator for column in self.numbers)
        hot = 0 if self.embedded else sum(len(column.levels) for column in self.categories)
        return own + hot

    @property
    def codes(self) -> tuple[int, ...]:
        """Codes of each embedded category: its levels, and 0 for an unknown one."""
        return tuple(len(c.levels) + 1 for c in self.categories) if self.embedded else ()

    def apply(
        self,
        numbers: np.ndarray,
        words: np.ndarray,
        number_names: tuple[str, ...],
        word_names: tuple[str, ...],
        ids: object = (),
    ) -> dict[str, np.ndarray]:
        """`features` float32 (N, features) and, where they are embedded, `codes` int32.

        Args:
          numbers, words: (N, columns), with NaN and '' for gaps.
          number_names, word_names: of their columns, which may be more than are wanted.
          ids: of the rows, for messages.

        Raises:
          UserError: a column is missing, or a value of a column whose gaps are refused.
        """
        found: list[np.ndarray] = []
        for column in self.numbers:
            values = numbers[:, _place(column.name, number_names, word_names, 'numbers')]
            gaps = np.isnan(values)
            if gaps.any() and column.fill is None:
                raise UserError(_gap(column.name, gaps, ids))
            filled = np.where(gaps, column.fill or 0.0, values)
            found.append((filled - column.mean) / column.deviation)
            found += [gaps.astype(np.float64)] if column.indicator else []
        codes: list[np.ndarray] = []
        for column in self.categories:
            values = words[:, _place(column.name, word_names, number_names, 'words')]
            known = {level: number for number, level in enumerate(column.levels, 1)}
            fill = known.get(column.fill or '', 0)
            code = np.array([known.get(v, 0) if v else fill for v in values], np.int32)
            codes.append(code)
            if not self.embedded:
                found += [(code == number).astype(np.float64) for number in known.values()]
        inputs = {'features': _stacked(found, len(numbers), np.float32)}
        if self.embedded:
            inputs['codes'] = _stacked(codes, len(numbers), np.int32)
        return inputs

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` is the inverse."""
        return {'kind': _KIND, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, saved: JsonObject, where: str) -> TablePreprocessing:
        """From a folder's config.json; raises UserError on fields unknown or of another kind."""
        given = {key: value for key, value in saved.items() if key != 'kind'}
        for name in given:
            check_name(name, ['numbers', 'categories', 'embedded'], 'preprocessing field')
        kinds: dict[str, Kind] = {
            'numbers': ListOf(Table()),
            'categories': ListOf(Table()),
            'embedded': Flag(),
        }
        check_table(given, kinds, f'{where}: preprocessing')
        columns: dict[str, list[Any]] = {}
        for key, of, known in (
            ('numbers', NumberColumn, _NUMBER),
            ('categories', CategoryColumn, _CATEGORY),
        ):
            columns[key] = []
            for number, column in enumerate(given.get(key, ())):
                place = f'{where}: preprocessing {key} {number}'
                if missing := [name for name in known if name not in column]:
                    raise UserError(f'{place}: {missing[0]} is missing')
                for name in column:
                    check_name(name, known, f'{place}: field')
                check_table(column, known, place)
                fields: dict[str, Any] = dict(column)
                if 'levels' in fields:
                    fields['levels'] = tuple(fields['levels'])
                columns[key].append(of(**fields))
        return cls(
            numbers=tuple(columns['numbers']),
            categories=tuple(columns['categories']),
            embedded=bool(given.get('embedded', False)),
        )


def is_table(fields: Mapping[str, object] | None) -> bool:
    """Whether the JSON of a preprocessing is that of tables."""
    return fields is not None and fields.get('kind') == _KIND


def table_of(fields: Any, where: str) -> Any:
    """From a folder's config.json; see `TablePreprocessing.from_json`."""
    return TablePreprocessing.from_json(fields, where)


def _place(name: str, names: tuple[str, ...], others: tuple[str, ...], what: str) -> int:
    if name in names:
        return names.index(name)
    if name in others:
        raise UserError(f'column {name!r}: the network was trained on {what} there; these are not')
    check_name(name, [*names, *others], 'column of the table (data.features):')
    raise AssertionError


def _gap(name: str, gaps: np.ndarray, ids: Any) -> str:
    first = int(np.argmax(gaps))
    row = ids[first] if len(ids) else f'row {first}'
    return (
        f'{row}: no value in {name!r}, as in {int(gaps.sum())} of {len(gaps)} rows; training had '
        f"none without (data.missing={{{name!r}: 'median'}} fills gaps in, 'drop' leaves them out)"
    )


def _stacked(columns: list[np.ndarray], rows: int, dtype: Any) -> np.ndarray:
    return np.stack(columns, axis=1).astype(dtype) if columns else np.zeros((rows, 0), dtype)
