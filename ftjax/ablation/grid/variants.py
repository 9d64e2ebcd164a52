"""What an arm chooses beside its rate: decay or epochs, say, each with every rate.

A grid knows arms, rates and seeds. What is tuned beside rates makes several arms of one, a
variant each, all searched alike; of these the best on validation data stands for the arm.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.ablation.grid.short_runs import arm_and_share
from ftjax.ablation.rates.choice import Choice, choose_rate, rate_curve
from ftjax.ablation.settings import GATES, AblationSettings
from ftjax.ablation.statistics.row_types import RowList
from ftjax.evaluation.metric import Metric
from ftjax.tasks.metrics import metric_of

Values = tuple[Any, ...]


def variants(settings: AblationSettings) -> dict[str, dict[str, Values]]:
    """{arm: {variant: one value for each key of `settings.tune`}}; no variants of baselines."""
    every = list(itertools.product(*settings.tune.values()))
    return {
        arm: {named(arm, settings.tune, values): values for values in every}
        for arm in settings.tuned
    }


def named(arm: str, tune: Mapping[str, object], values: Values) -> str:
    """What rows call a variant.

    >>> named('head', {'optimizer.weight_decay': (0.0, 0.1)}, (0.1,))
    'head (weight_decay 0.1)'
    """
    if not tune:
        return arm
    parts = [f'{key.split(".")[-1]} {value}' for key, value in zip(tune, values, strict=True)]
    return f'{arm} ({", ".join(parts)})'


def expanded(settings: AblationSettings) -> AblationSettings:
    """The settings of the grid that is run: its arms are the variants.

    >>> given = {'arms': {'a': 'head'}, 'rates': (1e-3,), 'tune': {'train.epochs': (1.0, 2.0)}}
    >>> list(expanded(AblationSettings(**given)).arms)
    ['a (epochs 1.0)', 'a (epochs 2.0)']
    """
    if not settings.tune:
        return settings
    known, arms = variants(settings), {}
    for arm, given in settings.arms.items():
        plain = {'freeze': given} if isinstance(given, str) else dict(given)
        if arm not in known:
            arms[arm] = plain
        for name, values in known.get(arm, {}).items():
            arms[name] = {**plain, **dict(zip(settings.tune, values, strict=True))}
    bare = {'tune': {}, 'search': 'grid', 'reference': ''}
    unjudged: dict[str, Any] = {**dict.fromkeys(GATES, ()), 'group_gates': {}}
    return dataclasses.replace(settings, arms=arms, **bare, **unjudged)


def chosen(rows: RowList, settings: AblationSettings) -> tuple[RowList, list[str]]:
    """The rows of one task with the best variant for each arm, under the arm's name; and notes.

    A variant with fewer unfinished runs at its rate goes first, then the better validation
    mean; the first in the order of the config breaks ties.

    Args:
      rows: of the grid of `expanded(settings)`.
    """
    if not settings.tune and settings.search == 'grid':
        return [dict(row) for row in rows], []
    plain = [arm for arm in settings.arms if arm not in settings.tuned]
    kept: RowList = [dict(row) for row in rows if row['arm'] in plain]
    told, metric = [], metric_of(settings.metric)
    for arm, known in variants(settings).items():
        choices = {name: _choice(rows, name, settings) for name in known}
        quality = {name: _quality(choice, metric) for name, choice in choices.items()}
        best = max(known, key=quality.__getitem__)  # the first of equals
        tuned = dict(zip(settings.tune, known[best], strict=True))
        more: dict[str, object] = {'tuned': tuned} if tuned else {}
        if settings.search != 'grid':  # edges and number are those of all trials of the arm
            of_arm = [row['rate'] for row in rows if arm_and_share(row['arm'])[0] in known]
            more['tried'] = sorted(dict.fromkeys(of_arm))
        kept += [{**row, 'arm': arm, **more} for row in rows if row['arm'] == best]
        told.append(f'{arm} {_with_edges(known[best], settings.tune)}')
    if settings.search != 'grid':
        count = f'{settings.trials} trials of every arm were drawn by search {settings.search!r}'
        beside = f', {", ".join(settings.tune)} among them: {"; ".join(told)}'
        return kept, [f'{count}{beside if settings.tune else ""}.']
    keys = ' and '.join(
        f'{key} among {", ".join(map(str, values))}' for key, values in settings.tune.items()
    )
    count = len(next(iter(variants(settings).values()), ()))
    return kept, [
        f'Beside the rate, every arm chose {keys} by validation, {count} choices with every rate; '
        f'rates and curves are those of the choice: {"; ".join(told)}.'
    ]


def _choice(rows: RowList, name: str, settings: AblationSettings) -> Choice:
    metric = metric_of(settings.metric)
    curve = rate_curve([row for row in rows if row['arm'] == name], metric)
    return choose_rate(curve, higher_is_better=metric.higher_is_better)


def _quality(choice: Choice, metric: Metric) -> tuple[float, float]:
    points = [point for point in choice.curve if point.rate == choice.rate]
    if choice.rate is None or points[0].mean is None:
        return -math.inf, 0.0
    return -points[0].n_unfinished, metric.sign * points[0].mean


def _with_edges(values: Values, tune: Mapping[str, Sequence[Any]]) -> str:
    """The chosen values, and which of them are the least or most of at least three tried."""
    parts = []
    for value, tried in zip(values, tune.values(), strict=True):
        edge = ''
        if len(tried) > 2 and all(isinstance(one, (int, float)) for one in tried):
            ends = {min(tried): ' (the lowest tried)', max(tried): ' (the highest tried)'}
            edge = ends.get(value, '')
        parts.append(f'{value}{edge}')
    return ', '.join(parts)
