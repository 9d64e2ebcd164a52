"""What an arm gives up against what it saves: differences to the reference over costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftjax.ablation.report.figures_arms import pareto_front
from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats
from ftjax.plotting.style import GREY, INK, arm_styles, new_figure, place_labels, quiet, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# (key of an arm, axis label)
COSTS = (
    ('step_seconds', 'time of a step'),
    ('step_bytes', 'device memory'),
    ('optimizer_bytes', 'optimizer state'),
)


def differences_by_cost(task: Summary, summary: Summary):
    """Difference to the reference, with its interval, against each cost as a share of its.

    The front joins the arms that no other beats in both; a point off it may still be on it within
    its interval. None where no cost of the reference is known.
    """
    reference = next(arm for arm in task['arms'] if arm['arm'] == summary['reference'])
    others = [arm for arm in task['arms'] if arm['difference'] and arm['rate'] is not None]
    panels = [
        (label, [(arm[key] / reference[key], arm) for arm in others if arm.get(key) is not None])
        for key, label in COSTS
        if reference.get(key)
    ]
    panels = [(label, points) for label, points in panels if points]
    if not panels:
        return None
    figure = new_figure(0.8 + 3.3 * len(panels), 4.0)
    drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    styles, scale = arm_styles(task['arms']), number_formats.scale_of(summary['metric'])
    labels: list[tuple[Any, list, list]] = []
    for axes, (label, points) in zip(drawn, panels, strict=True):
        marks, bars = [], []
        whole = (1.0, 0.0, summary['reference'], styles[summary['reference']]['color'])
        places = [(1.0, 0.0)]
        axes.axhline(0, color=GREY, linewidth=1, linestyle='--', zorder=1)
        axes.plot(1.0, 0.0, markersize=6, linestyle='', zorder=3, **styles[summary['reference']])
        for cost, arm in points:
            interval, style = arm['difference']['interval'], styles[arm['arm']]
            middle = scale * interval['estimate']
            axes.plot(cost, middle, markersize=6, linestyle='', zorder=3, **style)
            if interval['low'] is not None:
                ends = [scale * interval['low'], scale * interval['high']]
                axes.plot([cost, cost], ends, color=style['color'], linewidth=2, alpha=0.55)
                bars += [(cost, end) for end in ends]
            marks.append((cost, middle, arm['arm'], style['color']))
            places.append((cost, middle))
        front = pareto_front(places, summary['higher_is_better'])
        axes.plot(
            [places[i][0] for i in front],
            [places[i][1] for i in front],
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
    titled(drawn[0], f'Bars: simultaneous {level} intervals. Grey steps: the front.', 9)
    for axes, marks, bars in labels:
        place_labels(axes, marks, bars)
    return figure


def _scaled(axes: Axes, costs: Sequence[float]) -> None:
    """A logarithmic axis where costs differ by more than a factor of five."""
    if max(costs) > 5 * min(costs) > 0:
        axes.set_xscale('log')
    axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
    axes.minorticks_off()
    axes.tick_params(axis='x', labelcolor=INK)
