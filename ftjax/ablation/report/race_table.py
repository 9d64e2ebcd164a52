"""The looks of a race as a table: what each cost, at which level it judged, and who stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.ablation.racing.account import spent
from ftjax.ablation.statistics.row_types import Summary
from ftjax.io.json.json_values import JsonObject
from ftjax.plotting import number_formats

HEADER: tuple[str, ...] = (
    'look',
    'seeds',
    'alpha',
    'alpha spent',
    'spent',
    'stopped',
    'still in question',
)
LEGEND = (
    'Look: a comparison after that many seeds of each arm in question. '
    'At each look the arms in question are compared with the reference by simultaneous intervals '
    'at its alpha; those of all looks together miss with the alpha of the race at most. Alpha '
    'spent: of this look and those before it. Spent: what all runs up to the look have cost. '
    'Stopped: arms whose verdict the look decided, with their difference and its interval. Still '
    'in question: arms that go on with further seeds.'
)


def race_table(told: JsonObject, summary: Summary) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Header and rows, a look each.

    Args:
      told: a race, from `account.described`.
      summary: for the metric.
    """
    rows: list[tuple[str, ...]] = []
    for number, look in enumerate(told['looks'], 1):
        arms = look['arms']
        stopped = [
            f'{arm}: {one["verdict"]} {_interval(one, summary["metric"])}'
            for arm, one in arms.items()
            if one['stopped']
        ]
        left = [arm for arm, one in arms.items() if not one['stopped']]
        rows.append(
            (
                f'{number}{" (last)" if look["last"] else ""}',
                str(look['seeds']),
                f'{look["alpha"]:.4f}',
                f'{look["alpha_spent"]:.4f}',
                spent(told, look['spent']),
                '; '.join(stopped) or '–',
                ', '.join(left) or '–',
            )
        )
    return HEADER, rows


def _interval(one: Mapping[str, Any], metric: str) -> str:
    words = (
        number_formats.score(one[key], metric, signed=True) for key in ('difference', 'low', 'high')
    )
    middle, low, high = words
    return f'{middle} [{low}, {high}]'
