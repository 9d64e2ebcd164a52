"""What an arm gives up against what it saves: differences to the reference over costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftjax.ablation.report.figures_differences import limits
from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats
from ftjax.plotting.style import (
    GREY,
    INK,
    arm_styles,
    new_figure,
    place_labels,
    points_along,
    quiet,
    titled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIME = 'step_seconds'
# (key of an arm, axis label)
COSTS = (
    (TIME, 'time of a step'),
    ('step_bytes', 'device memory'),
    ('step_flops', 'FLOPs of a step'),
    ('params_trainable', 'trained parameters'),
)
PANELS = 3
"""The first of those costs that are known."""
NAMED = 14
"""Up to so many arms are drawn in full; of more, those on the front, the others as grey dots."""


def differences_by_cost(task: Summary, summary: Summary):
    """Difference to the reference, with its interval, against each cost as a share of its.

    The front joins the arms that no other beats in both; a point off it may still be on it within
    its intervals, which a time has too. A time that is a share of a joint program is lower than
    alone: it is drawn only beside a reference whose time is one too. None where no cost of the
    reference is known.
    """
    reference = next(arm for arm in task['arms'] if arm['arm'] == summary['reference'])
    others = [arm for arm in task['arms'] if arm['difference'] and arm['rate'] is not None]
    joint = set(summary.get('vectorised', ()))
    unlike = [arm for arm in others if (arm['arm'] in joint) != (reference['arm'] in joint)]

    def known(arm: Summary, key: str) -> bool:
        return bool(arm.get(key)) and not (key == TIME and arm in unlike)

    panels = [
        (key, label, [(arm[key] / reference[key], arm) for arm in others if known(arm, key)])
        for key, label in COSTS
        if reference.get(key)
    ]
    panels = [(key, label, points) for key, label, points in panels if points][:PANELS]
    if not panels:
        return None
    low, high = limits([arm['difference']['interval'] for arm in others])
    far = [arm for arm in others if not low <= arm['difference']['interval']['estimate'] <= high]
    figure = new_figure(0.8 + 3.3 * len(panels), 4.0)
    drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    styles, scale = arm_styles(task['arms']), number_formats.scale_of(summary['metric'])
    labels: list[tuple[object, list, list]] = []
    for axes, (key, label, points) in zip(drawn, panels, strict=True):
        marks, bars, many = [], [], len(points) >= NAMED
        whole = (1.0, 0.0, summary['reference'], styles[summary['reference']]['color'])
        near = [(cost, arm['difference']['interval']['estimate']) for cost, arm in points]
        places = [(1.0, 0.0), *((x, scale * y) for x, y in near if low <= y <= high)]
        front = pareto_front(places, summary['higher_is_better'])
        on_front = [places[i] for i in front]
        axes.axhline(0, color=GREY, linewidth=1, linestyle='--', zorder=1)
        axes.plot(1.0, 0.0, markersize=6, linestyle='', zorder=3, **styles[summary['reference']])
        for cost, arm in points:
            if arm in far:
                continue
            interval, style = arm['difference']['interval'], styles[arm['arm']]
            middle = scale * interval['estimate']
            if many and (cost, middle) not in on_front:
                axes.plot(cost, middle, marker='o', markersize=4, color=GREY, alpha=0.6)
                marks.append((cost, middle, '', GREY))
                continue
            axes.plot(cost, middle, markersize=6, linestyle='', zorder=3, **style)
            if interval['low'] is not None:
                ends = [scale * interval['low'], scale * interval['high']]
                axes.plot([cost, cost], ends, color=style['color'], linewidth=2, alpha=0.55)
                bars += points_along((cost, ends[0]), (cost, ends[1]))
            spread = arm.get(f'{key}_interval')
            if spread and spread['low'] is not None:
                sides = [max(spread[end], 0.0) / reference[key] for end in ('low', 'high')]
                axes.plot(sides, [middle, middle], color=style['color'], linewidth=2, alpha=0.55)
                bars += points_along((sides[0], middle), (sides[1], middle))
            marks.append((cost, middle, arm['arm'], style['color']))
        axes.plot(
            [cost for cost, _ in on_front],
            [middle for _, middle in on_front],
            color=GREY,
            linewidth=1.2,
            drawstyle='steps-post',
            zorder=1,
        )
        _scaled(axes, [cost for cost, _ in places])
        axes.set_xlabel(f'{label}, as a share of {summary["reference"]}')
        quiet(axes, 'both')
        axes.margins(x=0.16, y=0.12)
        labels.append((axes, [whole, *marks], bars))
    unit = ' (points)' if scale == 100 else ''
    direction = '' if summary['higher_is_better'] else ', lower is better'
    drawn[0].set_ylabel(f'difference to {summary["reference"]}{unit}{direction}')
    level = f'{100 * summary["confidence"]:g} %'
    told = f'Bars: {level} intervals, of differences simultaneous. Grey steps: the front.'
    if far:
        told += f'\nFar off, not drawn: {named_far(far, summary)}.'
    if any(arm.get(TIME) for arm in unlike) and reference.get(TIME):
        names = named_few([arm['arm'] for arm in unlike if arm.get(TIME)])
        alone = reference['arm'] in joint
        why = f'measured alone, unlike {reference["arm"]}' if alone else 'shares of joint programs'
        told += f'\nTimes not drawn, {why}: {names}.'
    titled(drawn[0], told, 9)
    for axes, marks, bars in labels:
        place_labels(axes, marks, bars)
    return figure


def named_far(arms: Sequence[Summary], summary: Summary) -> str:
    """Arms with their differences, as text; of more than five the first five."""
    told = (
        f'{arm["arm"]} '
        + number_formats.score(
            arm['difference']['interval']['estimate'], summary['metric'], signed=True
        )
        for arm in arms
    )
    return named_few(list(told))


def named_few(names: Sequence[str]) -> str:
    """Names in a list; of more than five the first five, and how many more there are."""
    return ', '.join(names[:5]) + (f' and {len(names) - 5} more' if len(names) > 5 else '')


def _scaled(axes: Axes, costs: Sequence[float]) -> None:
    """A logarithmic axis where costs differ by more than a factor of five."""
    from matplotlib.ticker import LogLocator

    if max(costs) > 5 * min(costs) > 0:
        axes.set_xscale('log')
        subs = (1, 2, 5) if max(costs) < 100 * min(costs) else (1,)
        axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
    elif max(costs) < 1.1 * min(costs):
        # Ticks of four digits say nothing; bars of times may reach further than their arms.
        drawn = [*costs, *axes.dataLim.intervalx]
        axes.set_xlim(0.9 * min(drawn), 1.1 * max(drawn))
    axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
    axes.minorticks_off()
    axes.tick_params(axis='x', labelcolor=INK)


def pareto_front(points: Sequence[tuple[float, float]], higher_is_better: bool) -> list[int]:
    """Indices of the points that no other beats in both cost and score, by rising cost.

    >>> pareto_front([(1, 0.5), (2, 0.4), (3, 0.9)], True)
    [0, 2]
    """
    sign = 1 if higher_is_better else -1
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -sign * points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or sign * points[i][1] > sign * points[front[-1]][1]:
            front.append(i)
    return front
