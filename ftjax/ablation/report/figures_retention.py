"""What an arm learns against what it forgets, with simultaneous intervals on both axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats
from ftjax.plotting.style import (
    GREY,
    arm_styles,
    new_figure,
    place_labels,
    points_along,
    quiet,
    scaled,
    titled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAR = 2.5
"""An end of an axis that makes it so many times as long is left to arrows at the border."""
ENDS = 0.25
"""No larger share of the arms is left to arrows."""
MARKER = 6.5
"""Points across."""


def learning_and_forgetting(task: Summary, summary: Summary):
    """The test score of every arm over the change of what `retention` measures.

    An arm far off in one of them stands at the border, as an arrow. None where retention was not
    asked for or no arm can be compared.
    """
    told = summary.get('retention')
    if told is None:
        return None
    reference = next(arm for arm in task['arms'] if arm['arm'] == summary['reference'])
    if reference['mean'] is None:
        return None
    places = {
        arm['arm']: (x, y)
        for arm in task['arms']
        if (x := _sideways(arm, told)) and (y := _upwards(arm, reference, summary))
    }
    if len(places) < 2:
        return None
    level = number_formats.scale_of(summary['metric']) * reference['mean']['estimate']
    wide = frame([x for x, _ in places.values()], 0.0)
    high = frame([y for _, y in places.values()], level)
    styles = arm_styles(task['arms'])
    figure = new_figure(8.6, 6.4)
    axes: Axes = figure.add_subplot()
    axes.set(xlim=wide, ylim=high)
    axes.axvline(0, color=GREY, linewidth=1, linestyle='--', zorder=1)
    axes.axhline(level, color=GREY, linewidth=1, linestyle=':', zorder=1)
    marks, bars = [], []
    for name, ((x, *xs), (y, *ys)) in places.items():
        style: dict[str, Any] = dict(styles[name])
        inside = wide[0] <= x <= wide[1] and high[0] <= y <= high[1]
        if not inside:
            style['marker'] = arrow(x, y, wide, high)
        at, up = within(x, wide), within(y, high)
        if at == x:
            ends = [within(end, high) for end in ys]
            axes.plot([x, x], ends, color=style['color'], linewidth=1.6, alpha=0.5)
            bars += points_along((x, ends[0]), (x, ends[-1]))
        if up == y:
            ends = [within(end, wide) for end in xs]
            axes.plot(ends, [y, y], color=style['color'], linewidth=1.6, alpha=0.5)
            bars += points_along((ends[0], y), (ends[-1], y))
        axes.plot(at, up, linestyle='', markersize=MARKER, zorder=3, clip_on=False, **style)
        marks.append((at, up, name + far_off(x, y, wide, high, told, summary), style['color']))
    _described(axes, summary, told)
    quiet(axes, 'both')
    place_labels(axes, marks, bars)
    return figure


def frame(places: Sequence[Sequence[float]], always: float) -> tuple[float, float]:
    """Ends of an axis for (estimate, low, high) of every arm; those far off may be outside.

    Args:
      places: of the arms.
      always: what is on the axis in any case.

    >>> low, high = frame(
    ...     [(0.0, -0.1, 0.1), (1.0, 0.8, 1.2), (1.2, 1.1, 1.3), (60.0, 59.0, 61.0)], 0
    ... )
    >>> low < -0.1 and 1.3 < high < 2
    True
    """
    near = sorted((*place[:3],) for place in places)
    for _ in range(int(ENDS * len(places) + 0.5)):
        ends = (near[0][0], near[-1][0])
        # The end that is left out is the one further from what must be there.
        rest = near[:-1] if ends[1] - always >= always - ends[0] else near[1:]
        if not rest or _length(near, always) <= FAR * _length(rest, always):
            break
        near = rest
    reach = _length(near, always)
    # One arm that is known badly must not squeeze the others.
    low = max(min(always, *(low for _, low, _ in near)), min(always, near[0][0]) - reach)
    high = min(max(always, *(high for _, _, high in near)), max(always, near[-1][0]) + reach)
    room = 0.08 * (high - low) or 0.01
    return low - room, high + room


def _length(places: Sequence[Sequence[float]], always: float) -> float:
    """Of an axis: of the estimates, and of a typical interval at least."""
    typical = sorted(high - low for _, low, high in places)[len(places) // 2]
    return max(max(always, places[-1][0]) - min(always, places[0][0]), typical)


def within(value: float, ends: tuple[float, float]) -> float:
    """The nearest place on an axis."""
    return min(max(value, ends[0]), ends[1])


def arrow(x: float, y: float, wide: tuple[float, float], high: tuple[float, float]) -> str:
    """The marker that points to where an arm is that is far off."""
    if not wide[0] <= x <= wide[1]:
        return '<' if x < wide[0] else '>'
    return 'v' if y < high[0] else '^'


def far_off(
    x: float,
    y: float,
    wide: tuple[float, float],
    high: tuple[float, float],
    told: Summary,
    summary: Summary,
) -> str:
    """What stands behind the name of an arm at the border: its place, on the axis it leaves."""
    found = []
    for value, ends, metric, signed in (
        (x, wide, told['metric'], True),
        (y, high, summary['metric'], False),
    ):
        if not ends[0] <= value <= ends[1]:
            value /= number_formats.scale_of(metric)
            found.append(number_formats.score(value, metric, signed))
    return f' ({", ".join(found)})' if found else ''


def _sideways(arm: Summary, told: Summary) -> tuple[float, float, float] | None:
    if arm['arm'] == told['before'] and arm.get('retention'):
        return 0.0, 0.0, 0.0
    change = (arm.get('retention') or {}).get('change')
    return scaled(change['interval'], told['metric'], difference=True) if change else None


def _upwards(
    arm: Summary, reference: Summary, summary: Summary
) -> tuple[float, float, float] | None:
    """The reference's mean, and the difference to it with its interval."""
    level = number_formats.scale_of(summary['metric']) * reference['mean']['estimate']
    if arm is reference:
        return level, level, level
    if arm['difference'] is None:
        return None
    found = scaled(arm['difference']['interval'], summary['metric'], difference=True)
    return tuple(level + end for end in found)


def _described(axes: Axes, summary: Summary, told: Summary) -> None:
    scale = number_formats.scale_of(told['metric'])
    unit = ' (points)' if scale == 100 else ''
    title = number_formats.title_of(told['metric']).removesuffix(' (%)')
    more = 'to the left' if told['higher_is_better'] else 'to the right'
    axes.set_xlabel(f'change of {told["of"]}{unit}: {title}; {more}, more is forgotten')
    axes.set_ylabel(number_formats.headed(summary))
    level = f'{100 * summary["confidence"]:g} %'
    titled(
        axes,
        f'Bars: simultaneous {level} intervals, of the change against {told["before"]} (dashed) '
        f'and of the\ndifference to {summary["reference"]} (dotted), at its mean. Arrows at the '
        'border: far off.',
        9,
    )
