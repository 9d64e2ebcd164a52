"""Figures that compare arms: scores with intervals, scores against cost, the depth curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats
from ftjax.plotting.style import (
    COLOURS,
    GREY,
    INK,
    arm_styles,
    finished,
    jitter,
    new_figure,
    place_labels,
    quiet,
    scaled,
    titled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# (key of an arm, axis label, title of the panel, unit of the ticks)
COSTS = (
    ('params_trainable', 'trainable parameters', 'by trainable parameters', ''),
    ('step_seconds', 'time of a training step', 'by time of a step', 's'),
    ('step_flops', 'FLOPs of a training step', 'by FLOPs of a step', ''),
)


def scores_by_arm(task: Summary, summary: Summary):
    """Mean and interval of every arm, its seeds as dots, the reference as a line."""
    metric, arms = summary['metric'], task['arms']
    scale, styles = number_formats.scale_of(metric), arm_styles(task['arms'])
    figure = new_figure(7.2, 1.3 + 0.42 * len(arms))
    axes = figure.add_subplot()
    for row, arm in enumerate(arms):
        colour = styles[arm['arm']]['color']
        scores = finished(arm)
        axes.scatter(
            [scale * score for score in scores],
            [row + 0.26 + offset for offset in jitter(len(scores), 0.05)],
            s=17,
            color=colour,
            alpha=0.45,
            linewidths=0,
            zorder=2,
        )
        note = f'{arm["n_ok"]} of {arm["n"]} runs' if arm['n_ok'] < arm['n'] else ''
        if arm['mean']:
            mean, low, high = scaled(arm['mean'], metric)
            axes.plot([low, high], [row, row], color=colour, linewidth=2.4, zorder=3)
            axes.plot(mean, row, marker='D', color=colour, markersize=6.5, mec='white', zorder=4)
            note = number_formats.score(arm['mean']['estimate'], metric) + (
                f'  ({note})' if note else ''
            )
        axes.annotate(
            note,
            (1.01, row),
            xycoords=('axes fraction', 'data'),
            va='center',
            fontsize=8.5,
            color=INK,
            annotation_clip=False,
        )
        if arm['arm'] == summary['reference'] and arm['mean']:
            axes.axvline(
                scale * arm['mean']['estimate'], color=GREY, linewidth=1, linestyle='--', zorder=1
            )
    axes.set_yticks(range(len(arms)), [arm['arm'] for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.5)
    axes.set_xlabel(number_formats.headed(summary))
    quiet(axes, 'x')
    axes.tick_params(axis='y', length=0, labelsize=9.5)
    axes.spines['left'].set_visible(False)
    level = f'{100 * summary["confidence"]:g} %'
    titled(axes, f'Diamond: mean with its {level} interval. Dots: seeds. Dashed: reference.', 9)
    return figure


def scores_by_share(task: Summary, summary: Summary):
    """Score against the share of parameters that train, on a logarithmic axis; None without."""
    arms = [a for a in task['arms'] if a['mean'] and a['trainable_share']]
    if len(arms) < 2:
        return None
    figure = new_figure(6.4, 4.2)
    axes = figure.add_subplot()
    points = [(100 * arm['trainable_share'], arm) for arm in arms]
    _scatter(axes, points, task['arms'], summary)
    axes.set_xscale('log')
    axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
    axes.set_xlabel('trainable share of the parameters (%)')
    _finish(axes, points, task['arms'], summary)
    return figure


def scores_by_cost(task: Summary, summary: Summary):
    """Score against every cost that was measured, the Pareto front drawn; None without any."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    known = [
        cost for cost in COSTS if sum(bool(a['mean'] and a[cost[0]]) for a in task['arms']) > 1
    ]
    if not known:
        return None
    figure = new_figure(0.6 + 3.1 * len(known) if len(known) > 1 else 6.4, 3.7)
    panels = figure.subplots(1, len(known), sharey=True, squeeze=False)[0]
    drawn = []
    scale = number_formats.scale_of(summary['metric'])
    for axes, (key, label, title, unit) in zip(panels, known, strict=True):
        points = [(arm[key], arm) for arm in task['arms'] if arm['mean'] and arm[key]]
        _scatter(axes, points, task['arms'], summary)
        front = pareto_front(
            [(cost, arm['mean']['estimate']) for cost, arm in points], summary['higher_is_better']
        )
        xs = [points[i][0] for i in front]
        ys = [scale * points[i][1]['mean']['estimate'] for i in front]
        axes.plot(xs, ys, color=GREY, linewidth=1.2, drawstyle='steps-post', zorder=1)
        costs = [cost for cost, _ in points]
        if max(costs) > 5 * min(costs):
            axes.set_xscale('log')
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(EngFormatter(unit, places=None))
        axes.set_xlabel(label)
        titled(axes, title)
        drawn.append((axes, points, _along(xs, ys, axes.get_xscale() == 'log')))
    for axes, points, line in drawn:
        _finish(axes, points, task['arms'], summary, ylabel=axes is panels[0], avoid=line)
    return figure


def _along(xs: Sequence[float], ys: Sequence[float], log: bool) -> list[tuple[float, float]]:
    """Places along a line that steps right, then up, evenly spaced as they are drawn."""
    import numpy as np

    space = np.geomspace if log else np.linspace
    steps = zip(xs, xs[1:], ys, ys[1:], strict=False)
    return [
        place
        for x0, x1, y0, y1 in steps
        for place in [(x, y0) for x in space(x0, x1, 30)]
        + [(x1, y) for y in np.linspace(y0, y1, 12)]
    ]


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


def depth_curve(task: Summary, summary: Summary):
    """Score against the number of trained blocks; None with fewer than three depths.

    'full' stands at the right end; arms without a depth are lines across.
    """
    metric = summary['metric']
    deep = sorted(
        (a for a in task['arms'] if a['mean'] and a['depth'] is not None),
        key=lambda arm: arm['depth'],
    )
    if len({arm['depth'] for arm in deep}) < 3:
        return None
    figure = new_figure(6.2, 4.0)
    axes = figure.add_subplot()
    places = [float(arm['depth']) for arm in deep]
    labels = [str(arm['depth']) for arm in deep]
    full = next((a for a in task['arms'] if a['arm'] == 'full' and a['mean']), None)
    if full is not None and full not in deep:
        deep.append(full)
        places.append(places[-1] + max(1.0, 0.25 * places[-1]))
        labels.append('all')
    means, lows, highs = zip(*(scaled(arm['mean'], metric) for arm in deep), strict=True)
    axes.fill_between(places, lows, highs, color=COLOURS[0], alpha=0.15, linewidth=0)
    axes.plot(places, means, color=COLOURS[0], marker='o', markersize=5.5, linewidth=1.8)
    for place, arm in zip(places, deep, strict=True):
        scores = [number_formats.scale_of(metric) * score for score in finished(arm)]
        axes.scatter([place] * len(scores), scores, s=13, color=INK, alpha=0.3, linewidths=0)
    for arm in task['arms']:
        if arm['arm'] in ('scratch', 'none', 'pixels') and arm['mean']:
            level = scaled(arm['mean'], metric)[0]
            axes.axhline(level, color=GREY, linewidth=1, linestyle='--')
            axes.annotate(
                arm['arm'],
                (1.0, level),
                xycoords=('axes fraction', 'data'),
                xytext=(-3, 3),
                textcoords='offset points',
                ha='right',
                fontsize=8.5,
                color=GREY,
            )
    axes.set_xticks(places, labels)
    axes.set_xlabel('trained blocks, counted from the head (0: the head alone)')
    axes.set_ylabel(number_formats.headed(summary))
    quiet(axes)
    level = f'{100 * summary["confidence"]:g} %'
    titled(axes, f'Mean with its {level} interval; dots: seeds', 9)
    return figure


def _scatter(
    axes: Axes,
    points: Sequence[tuple[float, Mapping[str, Any]]],
    arms: Sequence[Summary],
    summary: Summary,
) -> None:
    styles = arm_styles(arms)
    for cost, arm in points:
        mean, low, high = scaled(arm['mean'], summary['metric'])
        style: dict[str, Any] = styles[arm['arm']]
        axes.plot([cost, cost], [low, high], color=style['color'], linewidth=2, alpha=0.55)
        axes.plot(cost, mean, markersize=5.5, linestyle='', zorder=3, **style)


def _finish(
    axes: Axes,
    points: Sequence[tuple[float, Mapping[str, Any]]],
    arms: Sequence[Summary],
    summary: Summary,
    ylabel: bool = True,
    avoid: Sequence[tuple[float, float]] = (),
) -> None:
    metric, styles = summary['metric'], arm_styles(arms)
    if ylabel:
        axes.set_ylabel(number_formats.headed(summary))
    axes.margins(x=0.14, y=0.1)
    quiet(axes, 'both')
    axes.minorticks_off()
    labels, bars = [], []
    for cost, arm in points:
        mean, low, high = scaled(arm['mean'], metric)
        labels.append((cost, mean, arm['arm'], styles[arm['arm']]['color']))
        bars += [(cost, low), (cost, high)]
    place_labels(axes, labels, [*avoid, *bars])
