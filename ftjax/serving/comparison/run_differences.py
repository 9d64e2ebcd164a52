"""What differs between the runs of two bundles: data, config, metrics, test examples one by one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ftjax.errors import UserError
from ftjax.evaluation.example_scores import unpacked
from ftjax.serving.comparison.paired_scores import FEW, PairedScores, paired_scores

Facts = Mapping[str, Any]
"""As run.json has them; {} where nothing is known."""
SPLITS = ('train', 'val', 'test')
_COUNTS = ('n', 'groups')


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricPair:
    """A metric of both, each on the test split of its own run."""

    name: str
    first: float | None
    first_interval: tuple[float, float] | None = None
    second: float | None
    second_interval: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedDifference(PairedScores):
    """Second minus first on the same test examples."""

    metric: str
    caution: str = ''


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunDifferences:
    """See the fields."""

    data: Mapping[str, str]
    """By split: `the same`, `differs`, or `not known`."""
    config: tuple[tuple[str, str, str], ...]
    """(key, first, second) of the keys that differ."""
    metrics: tuple[MetricPair, ...]
    paired: PairedDifference | None
    unpaired: str = ''
    """Why the test examples cannot be paired; '' where they are."""


def run_differences(first: Facts, second: Facts) -> RunDifferences:
    """How the runs of two bundles differ."""
    found = paired_difference(first, second)
    return RunDifferences(
        data=data_differences(first, second),
        config=config_differences(first.get('config', {}), second.get('config', {})),
        metrics=tuple(metric_pairs(first.get('metrics', {}), second.get('metrics', {}))),
        paired=None if isinstance(found, str) else found,
        unpaired=found if isinstance(found, str) else '',
    )


def data_differences(first: Facts, second: Facts) -> dict[str, str]:
    """For each split whether its fingerprint, of inputs and labels, is the same."""
    one, other = first.get('data', {}), second.get('data', {})
    found = {}
    for split in SPLITS:
        a, b = one.get(split), other.get(split)
        found[split] = 'not known' if not a or not b else 'the same' if a == b else 'differs'
    return found


def config_differences(first: Facts, second: Facts) -> tuple[tuple[str, str, str], ...]:
    """(key, first, second) of what differs; a key that one of them lacks is `–` there.

    >>> config_differences({'freeze': 'head', 'train': {'steps': 5}}, {'train': {'steps': 9}})
    (('freeze', "'head'", '–'), ('train.steps', '5', '9'))
    """
    one, other = dict(_leaves(first)), dict(_leaves(second))
    found = []
    for key in sorted({*one, *other}):
        if key not in one or key not in other or one[key] != other[key]:
            a, b = (repr(side[key]) if key in side else '–' for side in (one, other))
            found.append((key, a, b))
    return tuple(found)


def _leaves(value: Mapping[str, Any], path: str = '') -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, f'{path}{key}.')
        else:
            yield f'{path}{key}', item


def metric_pairs(first: Facts, second: Facts) -> Iterator[MetricPair]:
    """All numbers among the metrics, those with an interval first."""
    names = [
        name
        for name in dict.fromkeys([*first, *second])
        if _number(first.get(name)) is not None or _number(second.get(name)) is not None
    ]
    names.sort(key=lambda name: not any(f'{name}_interval' in side for side in (first, second)))
    for name in names:
        if name not in _COUNTS:
            yield MetricPair(
                name=name,
                first=_number(first.get(name)),
                first_interval=_interval(first.get(f'{name}_interval')),
                second=_number(second.get(name)),
                second_interval=_interval(second.get(f'{name}_interval')),
            )


def paired_difference(first: Facts, second: Facts) -> PairedDifference | str:
    """Second minus first, example by example; or why that cannot be said."""
    if not first or not second:
        return 'a bundle holds no run.json: it was made by an older ftjax, or not from a run'
    if data_differences(first, second)['test'] != 'the same':
        return 'the test sets differ: each metric is of the test set of its own run'
    sides = first.get('metrics', {}), second.get('metrics', {})
    packed = [side.get('examples') for side in sides]
    if not all(isinstance(each, Mapping) for each in packed):
        return 'a run kept no scores of single examples'
    try:
        one, other = (unpacked(each) for each in packed if isinstance(each, Mapping))
    except UserError as error:
        return str(error)
    if one.metric != other.metric or len(one.values) != len(other.values):
        return f'the runs scored examples by {one.metric} and by {other.metric}'
    found = paired_scores(one.values, other.values)
    cautions = []
    if any(side.get('groups') for side in sides):
        cautions.append(
            'test examples come in groups, which bundles do not hold: the interval takes examples '
            'as independent and is too narrow'
        )
    if found.p is not None and found.differing < FEW:
        cautions.append(
            f'only {found.differing} examples differ: go by p, the interval is too narrow'
        )
    return PairedDifference(metric=one.metric, caution='; '.join(cautions), **vars(found))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _interval(value: object) -> tuple[float, float] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    low, high = map(_number, value)
    return None if low is None or high is None else (low, high)
