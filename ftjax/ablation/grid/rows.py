"""Rows of runs.jsonl: read with their fields checked, one a cell, those of the present grid.

A row that cannot be what was written there, and a second row that contradicts the first of its
cell, end in one line that names file and line number. No row is ever deleted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ftjax.ablation.rates.choice import known_rate
from ftjax.ablation.statistics.row_types import OwnRow
from ftjax.errors import UserError
from ftjax.evaluation.example_scores import unpacked
from ftjax.io.json.jsonl import numbered_jsonl

STATUSES = ('ok', 'diverged', 'failed')
NUMBERS = (
    *('params_total', 'params_trainable', 'optimizer_bytes', 'wall_seconds', 'step_flops'),
    *('step_seconds_median', 'step_bytes', 'retries', 'depth', 'steps', 'cell_seconds'),
    'devices',
)
RESULTS = ('status', 'val', 'test', 'shifts')
"""What two rows of one cell must agree on; times may differ."""


def read_rows(path: str | os.PathLike[str]) -> list[OwnRow]:
    """The rows of a file, one a cell, in its order; none where there is no file.

    Of a cell that was tried again the last attempt counts, of equal rows the first.

    Raises:
      UserError: a field is missing or of another type, or two rows contradict each other.
    """
    kept: dict[tuple[object, ...], tuple[int, OwnRow]] = {}
    for line, row in numbered_jsonl(path):
        check_row(row, f'{os.fspath(path)} line {line}')
        cell = cell_of(row)
        if cell not in kept or _tried_again(row, kept[cell][1]):
            kept[cell] = line, row
        elif any(row.get(key) != kept[cell][1].get(key) for key in RESULTS):
            before, first = kept[cell]
            raise UserError(
                f'{os.fspath(path)} line {line} contradicts line {before}: {_named(row)} has '
                f'{_difference(first, row)}; delete the line that is wrong'
            )
    return [row for _, row in kept.values()]


def check_row(row: OwnRow, where: str) -> None:
    """Raises UserError, with `where`, for a field that is missing or of another type."""
    for name in ('arm', 'seed', 'status', 'rate'):
        if name not in row:
            raise UserError(f'{where} has no {name!r}; expected the row of a run')
    _expect(isinstance(row['arm'], str), where, 'arm', row['arm'], 'the name of an arm')
    _expect(type(row['seed']) is int, where, 'seed', row['seed'], 'a whole number')
    rate = row['rate']
    positive = rate is None or (_number(rate) and math.isfinite(rate) and rate > 0)
    _expect(positive, where, 'rate', rate, 'a learning rate above 0, or null')
    status = row['status']
    known = isinstance(status, str) and status in STATUSES
    _expect(known, where, 'status', status, f'one of {", ".join(STATUSES)}')
    for name in ('val', 'test'):
        if row['status'] == 'ok' and name not in row:
            raise UserError(f'{where} has no {name!r}; a run that is ok has metrics of this split')
        _metrics(row.get(name), where, name)
    shifts = row.get('shifts')
    _expect(shifts is None or isinstance(shifts, dict), where, 'shifts', shifts, 'an object')
    for name, found in (shifts or {}).items():
        _metrics(found, where, f'shifts.{name}')
    unfamiliar = row.get('unfamiliar')
    known = unfamiliar is None or isinstance(unfamiliar, dict)
    _expect(known, where, 'unfamiliar', unfamiliar, 'an object')
    for name, found in (unfamiliar or {}).items():
        _metrics(found, where, f'unfamiliar.{name}')
    for name in ('movement', 'features_moved', 'weights', 'forgetting'):
        _metrics(row.get(name), where, name)
    scores = row.get('scores')
    _expect(scores is None or isinstance(scores, dict), where, 'scores', scores, 'an object')
    for number, (name, found) in enumerate((scores or {}).items()):
        _metrics(found, where, f'scores.{name}')
        so_far = [*(scores or {})][: number + 1]
        known = isinstance(found, dict) and {*so_far} == {*found}
        _expect(known, where, f'scores.{name}', found, f'a number or null of each of {so_far}')
    leaks = row.get('leaks')
    known = leaks is None or (
        isinstance(leaks, dict) and all(v is None or type(v) is int for v in leaks.values())
    )
    _expect(known, where, 'leaks', leaks, 'an object of whole numbers')
    for name in NUMBERS:
        value = row.get(name)
        _expect(value is None or _number(value), where, name, value, 'a number')
    identity = row.get('identity')
    known = identity is None or (
        isinstance(identity, dict) and isinstance(identity.get('weights') or {}, dict)
    )
    _expect(known, where, 'identity', identity, 'an object with weights in it, an object')
    examples = row.get('examples')
    if examples is not None:
        _expect(isinstance(examples, dict), where, 'examples', examples, 'an object')
        unpacked(examples)
    for name in ('task', 'data_fingerprint', 'test_fingerprint'):
        value = row.get(name)
        _expect(value is None or isinstance(value, str), where, name, value, 'text')


def cell_of(row: OwnRow) -> tuple[object, ...]:
    """(task, arm, rate, seed); the rate in nine digits, so that rounding makes no new cell."""
    rate = row['rate']
    return row.get('task'), row['arm'], None if rate is None else f'{rate:.9g}', row['seed']


def of_grid(
    rows: Iterable[OwnRow],
    arms: Collection[str],
    seeds: Collection[int],
    rates: Mapping[str, Sequence[float]],
) -> list[OwnRow]:
    """The rows of a grid: its arms, its seeds, and of each arm that has rates those.

    Args:
      rates: arm to its rates; arms that are not trained are left out of it.
    """
    return [
        row
        for row in rows
        if row['arm'] in arms
        and row['seed'] in seeds
        and (
            known_rate(row['rate'], rates[row['arm']]) in rates[row['arm']]
            if row['arm'] in rates
            else row['rate'] is None
        )
    ]


def _tried_again(row: OwnRow, before: OwnRow) -> bool:
    return before['status'] == 'failed' and row.get('retries', 0) > before.get('retries', 0)


def _named(row: OwnRow) -> str:
    rate = '' if row['rate'] is None else f', rate {row["rate"]:g}'
    return f'arm {row["arm"]!r}{rate}, seed {row["seed"]}'


def _difference(first: OwnRow, second: OwnRow) -> str:
    key = next(key for key in RESULTS if first.get(key) != second.get(key))
    one, other = first.get(key), second.get(key)
    while isinstance(one, dict) and isinstance(other, dict):
        inside = next(k for k in {**one, **other} if one.get(k) != other.get(k))
        key, one, other = f'{key} {inside}', one.get(inside), other.get(inside)
    return f'{key} {one!r} there and {other!r} here'


def _metrics(value: Any, where: str, name: str) -> None:
    _expect(value is None or isinstance(value, dict), where, name, value, 'an object of numbers')
    for key, number in (value or {}).items():
        fine = number is None or _number(number)
        _expect(fine, where, f'{name}.{key}', number, 'a number or null')


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _expect(fine: bool, where: str, name: str, value: object, expected: str) -> None:
    if not fine:
        raise UserError(f'{where}: {name!r} is {repr(value)[:60]}; expected {expected}')
