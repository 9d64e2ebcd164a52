"""Figures that compare arms: scores with intervals, and the depth curve."""

from __future__ import annotations

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
    quiet,
    scaled,
    titled,
)

SQUEEZED = 1.0
"""A line further below the depth curve than so many of its heights is told in words."""


def scores_by_arm(task: Summary, summary: Summary):
    """Mean and interval of every arm, its seeds as dots, the reference as a line."""
    metric, arms = summary['metric'], task['arms']
    scale, styles = number_formats.scale_of(metric), arm_styles(task['arms'])
    figure = new_figure(7.2, 1.3 + (0.42 if len(arms) <= 20 else 0.25) * len(arms))
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


def depth_curve(task: Summary, summary: Summary):
    """Score against the number of trained blocks; None with fewer than three depths.

    'full' stands at the right end; arms without a depth are lines across. Of several arms of one
    depth, with other rates say, the one of the shortest name is drawn.
    """
    metric = summary['metric']
    known = [arm for arm in task['arms'] if arm['mean'] and arm['depth'] is not None]
    first = {arm['depth']: arm for arm in sorted(known, key=lambda arm: -len(arm['arm']))}
    deep = [first[depth] for depth in sorted(first)]
    if len(deep) < 3:
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
    below = []
    for arm in task['arms']:
        if arm['arm'] in ('scratch', 'none', 'pixels') and arm['mean']:
            level = scaled(arm['mean'], metric)[0]
            if not min(lows) - SQUEEZED * (max(highs) - min(lows)) <= level <= max(highs):
                # A line far off would press the curve flat.
                below.append(
                    f'{arm["arm"]} {number_formats.score(arm["mean"]["estimate"], metric)}'
                )
                continue
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
    far = f'\nFar off, not drawn: {", ".join(below)}' if below else ''
    titled(axes, f'Mean with its {level} interval; dots: seeds{far}', 9)
    return figure
