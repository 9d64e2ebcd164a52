"""What arms forget of a sequence of tasks, against what they had learned of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats
from ftjax.plotting.style import (
    GREY,
    arm_styles,
    draw_cross,
    new_figure,
    place_labels,
    points_along,
    quiet,
    scaled,
    titled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def forgetting_in_turn(task: Summary, summary: Summary):
    """What was forgotten at the end over the scores as learned, with intervals on both axes.

    None where the tasks were not learned one after the other, and with fewer than two arms.
    """
    last = [list(arm.get('forgetting') or {})[-1:] for arm in task['arms']]
    found = [
        (arm['arm'], arm['forgetting'][name[0]])
        for arm, name in zip(task['arms'], last, strict=True)
        if name and arm['forgetting'][name[0]]['mean'] and arm['forgetting'][name[0]].get('learned')
    ]
    if len(found) < 2:
        return None
    metric, styles = summary['metric'], arm_styles(task['arms'])
    figure = new_figure(6.8, 5.0)
    axes: Axes = figure.add_subplot()
    axes.axhline(0, color=GREY, linewidth=1, linestyle='--', zorder=1)
    marks, bars = [], []
    for name, one in found:
        across = scaled(one['learned'], metric)
        upwards = scaled(one['mean'], metric, difference=True)
        bars += draw_cross(axes, across, upwards, styles[name])
        marks.append((across[0], upwards[0], name, styles[name]['color']))
    title = number_formats.headed(summary).removeprefix('test ')
    axes.set_xlabel(f'as learned: {title}, mean of the tasks before the last')
    unit = 'points' if number_formats.scale_of(metric) == 100 else title
    axes.set_ylabel(f'forgotten of them at the end ({unit})')
    quiet(axes, 'both')
    axes.margins(0.12)
    level = f'{100 * summary["confidence"]:g} %'
    titled(axes, f'Means over seeds with their {level} intervals on both axes', 9)
    zero = points_along((axes.get_xlim()[0], 0.0), (axes.get_xlim()[1], 0.0), 60)
    place_labels(axes, marks, [*bars, *zero])
    return figure
