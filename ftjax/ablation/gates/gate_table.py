"""The table of gates: each with what was measured for it and how it came out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ftjax.ablation.statistics.row_types import Summary

HOW_GATES_PASS = (
    'Gate: a statement fixed before the runs. Value: what was measured for it, above 0 where it '
    'holds, with its interval. Kind: a report is told beside the gates and cannot fail. A gate '
    'passes if the interval of its value lies above 0, fails if it lies below 0 or within the '
    'margin of equivalence, and is undecided otherwise. Where a statement is on several '
    'differences, all must hold; the nearest is shown, and where another one decides that a '
    'statement does not hold, that one after it. Intervals of gates that a config '
    'names are those of the table: of the same model, with the same critical value. Of other '
    'verdicts (on movement, weights, soups, theory) they may be t intervals over seeds, each by '
    'itself.'
)


def gate_rows(verdicts: Sequence[Summary]) -> list[list[str]]:
    """Rows of a table: gate, kind, value, interval, outcome.

    >>> gate_rows([verdict('a above b', True, 0.00377, [0.00312, 0.00442], 'gate')])
    [['a above b', 'gate', '+0.00377', '[+0.00312, +0.00442]', 'passed']]
    """
    words = {True: 'passed', False: 'failed', None: 'reported'}
    rows = []
    for one in verdicts:
        kind = one.get('kind', 'gate')
        undecided = one['passed'] is None and kind == 'gate'
        outcome = 'undecided' if undecided else words[one['passed']]
        claim = one['gate']
        if decides := one.get('decided_by'):
            how = 'left undecided' if undecided else outcome
            claim += f'; {how} by {decides["of"]}: {" ".join(_numbers(decides))}'
        rows.append([claim, kind, *_numbers(one), outcome])
    return rows


def _numbers(one: Summary) -> tuple[str, str]:
    """A value and its interval."""
    low_high = one['interval'] or ()
    known = [number for number in (one['value'], *low_high) if number is not None]
    digits = _decimals(max((abs(n) for n in known if math.isfinite(n)), default=0.0))
    value = '–' if one['value'] is None else f'{one["value"]:+.{digits}f}'
    bounds = ', '.join(f'{end:+.{digits}f}' for end in low_high)
    return value, f'[{bounds}]' if bounds else '–'


def _decimals(largest: float) -> int:
    """Two, or as many as leave three digits of a number below 0.1, six at most."""
    return 2 if largest >= 0.1 or not largest else min(6, 2 - math.floor(math.log10(largest)))


def verdict(
    gate: str, passed: bool | None, value: object, interval: object, kind: str
) -> dict[str, Any]:
    """One verdict, as verdicts.json holds it."""
    return {'gate': gate, 'passed': passed, 'value': value, 'interval': interval, 'kind': kind}
