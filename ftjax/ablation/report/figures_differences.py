"""Differences to the reference, ranked: the first figure, so that nothing far off squeezes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.ablation.report import arm_cells
from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats
from ftjax.plotting.style import COLOURS, GREY, INK, LIGHT, new_figure, quiet, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERDICT_COLOURS = {
    'better': COLOURS[0],
    'worse': COLOURS[1],
    'equivalent': COLOURS[2],
    'undecided': GREY,
}
FAR = 8.0
"""An arm further off than so many typical half widths stands at the border, with an arrow."""


def differences_by_arm(task: Summary, summary: Summary):
    """Every arm's difference with its simultaneous interval, the best at the top.

    An arm far off is drawn at the border, so that the others keep their place. None where no arm
    can be compared.
    """
    found = [(arm['arm'], arm['difference']) for arm in task['arms'] if arm['difference']]
    if not found:
        return None
    sign = 1 if summary['higher_is_better'] else -1
    found.sort(key=lambda one: -sign * one[1]['interval']['estimate'])
    metric, scale = summary['metric'], number_formats.scale_of(summary['metric'])
    low, high = (scale * end for end in limits([one['interval'] for _, one in found]))
    figure = new_figure(7.2, 1.35 + (0.34 if len(found) <= 20 else 0.21) * len(found))
    axes = figure.add_subplot()
    margin = scale * summary['margin']
    if margin:
        axes.axvspan(-margin, margin, color=LIGHT, linewidth=0, zorder=0)
    axes.axvline(0, color=INK, linewidth=1, linestyle='--', zorder=1)
    axes.set_xlim(low, high)
    small = 8.5 if len(found) <= 20 else 7
    for row, (_, difference) in enumerate(found):
        interval, colour = difference['interval'], VERDICT_COLOURS[difference['verdict']]
        middle = scale * interval['estimate']
        if low <= middle <= high:
            if interval['low'] is not None:
                ends = [scale * interval['low'], scale * interval['high']]
                axes.plot(np.clip(ends, low, high), [row, row], color=colour, linewidth=2.2)
            axes.plot(middle, row, marker='D', color=colour, markersize=5.5, mec='white')
        else:
            edge, arrow = (low, '<') if middle < low else (high, '>')
            axes.plot(edge, row, marker=arrow, color=colour, markersize=7, clip_on=False)
        axes.annotate(
            arm_cells.with_bounds(interval, metric, signed=True),
            (1.01, row),
            xycoords=('axes fraction', 'data'),
            va='center',
            fontsize=small,
            color=INK,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(found)), [name for name, _ in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    unit = ' in points' if scale == 100 else ''
    direction = '' if summary['higher_is_better'] else ', lower is better'
    of = number_formats.headed(summary).split(',')[0].removesuffix(' (%)')
    axes.set_xlabel(f'difference to {summary["reference"]}{unit}: {of}{direction}')
    axes.locator_params(axis='x', nbins=6)  # numbers of many digits would touch
    quiet(axes, 'x')
    axes.tick_params(axis='y', length=0, labelsize=small + 0.5)
    axes.spines['left'].set_visible(False)
    _titled(axes, found, summary)
    return figure


def limits(intervals: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Ends of the axis: of all intervals, those of arms far off left out; 0 is inside."""
    sizes = np.abs([interval['estimate'] for interval in intervals])
    halves = [one['high'] - one['low'] for one in intervals if one['low'] is not None]
    typical = float(np.median(halves)) / 2 if halves else float(np.median(sizes))
    near = [one for one, size in zip(intervals, sizes, strict=True) if size <= FAR * typical]
    ends = [0.0]
    for one in near or intervals:
        ends += [one['estimate']] if one['low'] is None else [one['low'], one['high']]
    low, high = min(ends), max(ends)
    room = 0.05 * (high - low) or 0.01
    return low - room, high + room


def _titled(
    axes: Axes, found: Sequence[tuple[str, Mapping[str, object]]], summary: Summary
) -> None:
    from matplotlib.lines import Line2D

    level = f'{100 * summary["confidence"]:g} %'
    titled(
        axes, f'Simultaneous {level} intervals. Dashed: {summary["reference"]}. Grey: margin.', 9
    )
    there = {difference['verdict'] for _, difference in found}
    grey = [one['standard_error'] is None for _, one in found if one['verdict'] == 'undecided']
    word = 'no verdict' if all(grey) else 'no significant difference'
    words = {'undecided': f'{word} or no verdict' if any(grey) and not all(grey) else word}
    handles = [
        Line2D([], [], color=colour, marker='D', linewidth=2.2, label=words.get(name, name))
        for name, colour in VERDICT_COLOURS.items()
        if name in there
    ]
    axes.figure.legend(
        handles=handles, loc='outside lower center', ncols=4, frameon=False, fontsize=8.5
    )
