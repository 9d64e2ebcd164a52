"""What a cell of an ablation's tables says of an arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats

_NOTES = (
    ('n_diverged', 'diverged'),
    ('n_failed', 'failed'),
    ('n_undefined', 'without a value'),
    ('n_missing', 'missing'),
)


def runs(arm: Mapping[str, Any]) -> str:
    """How many runs came to their end, and what became of the others."""
    text = f'{arm["n_ok"]} of {arm["n"]}'
    notes = [f'{arm[key]} {word}' for key, word in _NOTES if arm.get(key)]
    return f'{text} ({", ".join(notes)})' if notes else text


def difference(arm: Mapping[str, Any], metric: str) -> str:
    """The difference to the reference with its interval."""
    if arm['difference'] is None:
        return '–'
    return with_bounds(arm['difference']['interval'], metric, signed=True)


def with_bounds(interval: Mapping[str, Any] | None, metric: str, signed: bool = False) -> str:
    """An estimate with its interval, if it has one; a score's is cut at the metric's bounds.

    Args:
      signed: whether it is a difference, and no score.
    """
    if interval is None:
        return '–'
    value = number_formats.score(interval['estimate'], metric, signed)
    bounds = number_formats.bounds(interval, metric, signed, clip=not signed)
    return value if bounds == '–' else f'{value} {bounds}'


def chance(difference: Summary | None) -> str:
    """The probability that an arm is better, in two digits."""
    if difference is None or difference['standard_error'] is None:
        return '–'
    found = difference['probability_better']
    return '<0.01' if found < 0.01 else '>0.99' if found > 0.99 else f'{found:.2f}'


def verdict(difference: Summary | None, summary: Summary) -> str:
    """A verdict in words, with the seeds that would decide it."""
    if difference is None:
        return '–'
    if difference['standard_error'] is None:
        return 'no verdict'
    if difference['verdict'] == 'equivalent':
        return f'equivalent (±{number_formats.score(summary["margin"], summary["metric"])})'
    if difference['verdict'] != 'undecided':
        return difference['verdict']
    more = difference['further_seeds']
    return f'no significant difference{"" if more is None else f" ({seeds(more)})"}'


def seeds(more: int) -> str:
    """A number of further seeds.

    >>> seeds(1), seeds(12)
    ('1 more seed', '12 more seeds')
    """
    return f'{more} more seed{"" if more == 1 else "s"}'


def joint_time(arm: Mapping[str, Any], key: str, summary: Summary) -> str:
    """A time, with a star where it is a share of a program of several runs."""
    joint = arm['arm'] in summary.get('vectorised', ()) and arm[key] is not None
    return number_formats.seconds(arm[key]) + ('*' if joint else '')
