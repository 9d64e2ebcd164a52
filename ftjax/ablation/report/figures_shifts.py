"""Arms on further test sets: broken lines over the sets, and in against out of distribution."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.ablation.statistics.comparison import options_of
from ftjax.ablation.statistics.mean_interval import mean_interval
from ftjax.io.files.atomic import to_jsonable
from ftjax.plotting import number_formats
from ftjax.plotting.style import (
    arm_styles,
    draw_cross,
    new_figure,
    place_labels,
    quiet,
    scaled,
    titled,
)

MEAN = 'mean of shifts'
"""A further test set of this name is the mean of the others already."""
NAMED = 14
"""Up to so many arms are named in the plane; of more, those on its front and the reference."""
WIDTH = 60
"""Letters of an axis' name in a line: as many as stand beside the lower of the two figures."""


def shift_lines(task: Mapping[str, Any], summary: Mapping[str, Any]):
    """Mean and interval of every arm on the test split and on each further test set.

    Points of an arm are joined by a broken line: what lies between two sets means nothing. None
    without further test sets.
    """
    names = test_sets(task)
    if not names:
        return None
    arms = [arm for arm in task['arms'] if arm['mean'] and arm['shifts']]
    styles, metric = arm_styles(task['arms']), summary['metric']
    figure = new_figure(min(9.6, 3.4 + 1.3 * (len(names) + 1)), max(4.2, 1.0 + 0.2 * len(arms)))
    axes: Any = figure.add_subplot()
    offsets = np.linspace(-0.3, 0.3, len(arms)) if len(arms) > 1 else [0.0]
    for offset, arm in zip(offsets, arms, strict=True):
        found = [arm['mean'], *(arm['shifts'].get(name, {}).get('mean') for name in names)]
        known = [(place, scaled(one, metric)) for place, one in enumerate(found) if one]
        xs = [place + offset for place, _ in known]
        style = styles[arm['arm']]
        means = [mean for _, (mean, _, _) in known]
        axes.plot(xs, means, linestyle=(0, (2, 3)), linewidth=0.9, color=style['color'], alpha=0.6)
        axes.plot(xs, means, linestyle='', markersize=5, label=arm['arm'], **style)
        axes.vlines(
            xs,
            [low for _, (_, low, _) in known],
            [high for _, (_, _, high) in known],
            color=style['color'],
            linewidth=1.6,
            alpha=0.6,
        )
    slanted = max(map(len, names)) > 14
    axes.set_xticks(
        range(len(names) + 1),
        ['test', *names],
        rotation=25 if slanted else 0,
        ha='right' if slanted else 'center',
    )
    axes.set_ylabel(number_formats.headed(summary))
    quiet(axes)
    titled(axes, f'Means with their {100 * summary["confidence"]:g} % intervals', 9)
    figure.legend(frameon=False, fontsize=8, loc='outside right center', ncols=1 + (len(arms) > 26))
    return figure


def in_out_plane(task: Mapping[str, Any], summary: Mapping[str, Any]):
    """The test split against the mean of the further test sets, intervals on both axes.

    None with fewer than three arms that were tested on all of them, and of a sequence of tasks:
    there the test score is the mean of the same numbers.
    """
    if any(arm.get('forgetting') for arm in task['arms']):
        return None
    names = test_sets(task)
    arms = [arm for arm in task['arms'] if arm['mean'] and set(names) <= set(arm['shifts'])]
    if not names or len(arms) < 3:
        return None
    metric, styles = summary['metric'], arm_styles(task['arms'])
    figure = new_figure(6.4, 5.0)
    axes: Any = figure.add_subplot()
    marks, bars, overlap = [], [], options_of(summary)['overlap']
    for arm in arms:
        out = out_of_distribution(arm, names, summary['confidence'], overlap)
        if out is None:
            continue
        across, upwards = scaled(arm['mean'], metric), scaled(out, metric)
        style = styles[arm['arm']]
        bars += draw_cross(axes, across, upwards, style)
        marks.append((across[0], upwards[0], arm['arm'], style['color']))
    title = number_formats.headed(summary).removeprefix('test ')
    axes.set_xlabel(textwrap.fill(f'in distribution (test split): {title}', WIDTH))
    joint = names[0] if len(names) == 1 else f'mean of {len(names)} test sets'
    axes.set_ylabel(textwrap.fill(f'out of distribution ({joint}): {title}', WIDTH))
    quiet(axes, 'both')
    axes.margins(0.1)
    level = f'{100 * summary["confidence"]:g} %'
    titled(axes, f'Means over seeds with their {level} intervals on both axes', 9)
    sign = 1 if summary['higher_is_better'] else -1
    place_labels(axes, _named(marks, summary['reference'], sign), bars)
    return figure


def test_sets(task: Mapping[str, Any]) -> list[str]:
    """Names of the further test sets, a mean of the others left out."""
    names = dict.fromkeys(name for arm in task['arms'] for name in arm['shifts'])
    return [name for name in names if name != MEAN]


def out_of_distribution(
    arm: Mapping[str, Any], names: Sequence[str], confidence: float, overlap: float = 0.0
) -> dict[str, object] | None:
    """The mean over test sets, seed by seed, with its t interval; None where no seed has all.

    Args:
      overlap: of folds; see `statistics.mean_interval`.
    """
    seeds = [arm['shifts'][name]['seeds'] for name in names]
    common = set.intersection(*map(set, seeds))
    rows = [[of[seed] for of in seeds] for seed in sorted(common, key=int)]
    means = [float(np.mean(row)) for row in rows if None not in row]
    return to_jsonable(mean_interval(means, confidence, overlap)) if means else None


def _named(marks: Sequence[tuple], reference: str, sign: int) -> list[tuple]:
    """The points with their names: all, or of many those that no other beats on both axes."""

    def told(x: float, y: float, name: str) -> bool:
        if len(marks) <= NAMED or name == reference:
            return True
        better = (sign * a >= sign * x and sign * b >= sign * y for a, b, *_ in marks)
        return sum(better) == sum((a, b) == (x, y) for a, b, *_ in marks)

    return [(x, y, name if told(x, y, name) else '', colour) for x, y, name, colour in marks]
