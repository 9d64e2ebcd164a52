"""One look for all figures: colours by arm, quiet axes, labels that do not overlap."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.plotting import number_formats
from ftjax.tasks.metrics import as_metric

INK = '#1f2933'
GREY = '#8a94a0'
LIGHT = '#e4e7eb'
# Told apart by people with any kind of colour vision (after Okabe and Ito, 2008), and by
# marker or kind of line where colours come round again.
COLOURS = (
    '#0072b2',
    '#d55e00',
    '#009e73',
    '#cc79a7',
    '#e69f00',
    '#56b4e9',
    '#7b5ea7',
    '#5f6b76',
    '#8c510a',
    '#101820',
)
# How far labels stand from their points, in typographic points.
BESIDE, FURTHER = (7, 14, 26), (42, 62, 90)
CROWD = 20
"""Points above which labels keep clear of each other alone."""
MARKERS = ('o', 's', 'D', '^', 'v', 'P', 'X', 'h')
LINES = ('-', '--', ':', '-.', (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))


def arm_styles(arms: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Colour and marker of each arm by its place, so that every figure agrees."""
    n = len(COLOURS)
    return {
        arm['arm']: {'color': COLOURS[i % n], 'marker': MARKERS[(i // n) % len(MARKERS)]}
        for i, arm in enumerate(arms)
    }


def line_styles(arms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Kind of line of each arm, another one each time that colours come round."""
    return {arm['arm']: LINES[(i // len(COLOURS)) % len(LINES)] for i, arm in enumerate(arms)}


def new_figure(width: float, height: float):
    """An empty matplotlib Figure of a size in inches; no global state is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)  # Labels are measured before they are placed.
    return figure


def quiet(axes: Any, grid: str = 'y') -> None:
    """Takes the frame off and puts a light grid behind the data: 'x', 'y' or 'both'."""
    axes.spines[['top', 'right']].set_visible(False)
    for side in ('left', 'bottom'):
        axes.spines[side].set_color(GREY)
    axes.grid(True, axis=grid, color=LIGHT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5, color=GREY, labelcolor=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_size(9.5)
        label.set_color(INK)


def titled(axes: Any, text: str, size: float = 10.5) -> None:
    """Sets a title at the left, where reading begins."""
    axes.set_title(text, loc='left', fontsize=size, color=INK, pad=8)


def scaled(
    interval: Mapping[str, Any], metric: str, difference: bool = False
) -> tuple[float, float, float]:
    """(estimate, low, high) in the unit that is drawn; bounds equal the estimate if unknown.

    Bounds of a score are cut where the metric ends; those of a `difference` are not.

    >>> scaled({'estimate': 0.02, 'low': -0.01, 'high': 0.05}, 'accuracy')
    (2.0, 0.0, 5.0)
    >>> scaled({'estimate': 0.02, 'low': -0.01, 'high': 0.05}, 'accuracy', difference=True)
    (2.0, -1.0, 5.0)
    """
    scale = number_formats.scale_of(metric)
    estimate = interval['estimate']
    low = estimate if interval['low'] is None else interval['low']
    high = estimate if interval['high'] is None else interval['high']
    if not difference:
        low, high = as_metric(metric).clipped(low), as_metric(metric).clipped(high)
    return scale * estimate, scale * low, scale * high


def draw_cross(
    axes: Any,
    across: tuple[float, float, float],
    upwards: tuple[float, float, float],
    style: Mapping[str, Any],
) -> list[tuple[float, float]]:
    """A point with an interval on each axis, (estimate, low, high) each; places along its bars."""
    (x, *xs), (y, *ys) = across, upwards
    axes.plot(xs, [y, y], color=style['color'], linewidth=1.4, alpha=0.4)
    axes.plot([x, x], ys, color=style['color'], linewidth=1.4, alpha=0.4)
    axes.plot(x, y, linestyle='', markersize=6, zorder=3, **style)
    return points_along((xs[0], y), (xs[1], y)) + points_along((x, ys[0]), (x, ys[1]))


def finished(arm: Mapping[str, Any]) -> list[float]:
    """The scores of an arm's finished runs."""
    return [score for score in arm['seeds'].values() if score is not None]


def points_along(
    start: tuple[float, float], end: tuple[float, float], points: int = 13
) -> list[tuple[float, float]]:
    """Places along a line, its ends among them, for labels to keep clear of.

    >>> points_along((0.0, 1.0), (4.0, 1.0), 3)
    [(0.0, 1.0), (2.0, 1.0), (4.0, 1.0)]
    """
    (x, y), (to_x, to_y) = start, end
    steps = [number / (points - 1) for number in range(points)]
    return [(x + t * (to_x - x), y + t * (to_y - y)) for t in steps]


def place_labels(
    axes: Any,
    points: Sequence[tuple[float, float, str, str]],
    avoid: Sequence[tuple[float, float]] = (),
) -> None:
    """Writes a label beside every point where it covers no other label or point.

    Of the places around a point the one with the least overlap is taken, point by point from the
    left; one further off, joined to its point by a line, only where those near it are covered.
    Good enough for some twenty arms; of more points `avoid` is not looked at.

    Args:
      points: (x, y, text, colour) in data coordinates; without a text a point gets no label, and
        those of the others are not put where they would be read as its name.
      avoid: more places (x, y) in data coordinates that labels should keep clear of, such as
        points along a line.
    """
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    figure = axes.figure
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    sides = ((1, 0.6), (1, -0.6), (-1, 0.6), (-1, -0.6), (0, 1.2), (0, -1.2))
    slopes = (*sides, (0.5, 1.1), (0.5, -1.1), (-0.5, 1.1), (-0.5, -1.1))
    around = [(dx * reach, dy * reach, False) for reach in BESIDE for dx, dy in sides]
    around += [(dx * reach, dy * reach, True) for reach in FURTHER for dx, dy in slopes]

    def box_at(x: float, y: float, points_wide: float) -> object:
        side = points_wide * figure.dpi / 72
        left, bottom = axes.transData.transform((x, y)) - side / 2
        return Bbox.from_bounds(left, bottom, side, side)

    taken = [box_at(x, y, 10) for x, y, *_ in points]
    taken += [box_at(x, y, 4) for x, y in avoid if len(points) <= CROWD]
    labels: list[object] = []
    frame = axes.get_window_extent(renderer)
    for x, y, text, colour in sorted(point for point in points if point[2]):
        own = axes.transData.transform((x, y))
        others = [axes.transData.transform(p[:2]) for p in points if p[:2] != (x, y)]
        best: tuple[float, Any, Any] | None = None
        for dx, dy, joined in around:
            if joined and best is not None and best[0] < 0.5 * best[2].width * best[2].height:
                break
            line = {'arrowstyle': '-', 'color': GREY, 'linewidth': 0.7, 'shrinkA': 0, 'shrinkB': 3}
            label = axes.annotate(
                text,
                (x, y),
                (dx, dy),
                textcoords='offset points',
                ha=('right', 'center', 'left')[1 + (dx > 0) - (dx < 0)],
                va=('top', 'bottom')[dy > 0],
                fontsize=8.5,
                color=colour,
                arrowprops=line if joined else None,
            )
            # Out of the layout: a label must not make the axes shrink after it was placed.
            label.set_in_layout(False)
            label.update_positions(renderer)
            box = Text.get_window_extent(label, renderer)  # the line is no part of it
            cost = sum(_overlap(box, other) for other in taken)
            cost += 40 * sum(_overlap(box, other) for other in labels)  # neither could be read
            size = box.width * box.height
            cost += 0.5 * size if joined else 0.0
            cost += 10 * (size - _overlap(box, frame))  # cut off where it leaves the axes
            # Nearer to another point it would be read as that one's name.
            if not joined and any(_distance(box, other) <= _distance(box, own) for other in others):
                cost += 2 * size
            if best is None or cost < best[0] - 1e-6:
                if best is not None:
                    best[1].remove()
                best = (cost, label, box)
            else:
                label.remove()
        if best is not None:
            labels.append(best[2])


def _overlap(one: Any, other: Any) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)


def _distance(box: Any, point: Any) -> float:
    dx = max(box.x0 - point[0], 0.0, point[0] - box.x1)
    dy = max(box.y0 - point[1], 0.0, point[1] - box.y1)
    return math.hypot(dx, dy)


def jitter(n: int, width: float) -> list[float]:
    """Offsets (n) within +-width, spread without chance so that redrawing changes nothing."""
    if n < 2:
        return [0.0] * n
    step = 2 * width / (n - 1)
    order = itertools.chain(range(0, n, 2), range(1, n, 2))
    return [-width + step * i for i in order]
