"""The whole learning-rate curve of every arm, the chosen rate marked."""

from __future__ import annotations

from ftjax.ablation.statistics.row_types import Summary
from ftjax.plotting import number_formats
from ftjax.plotting.style import (
    GREY,
    INK,
    LIGHT,
    arm_styles,
    line_styles,
    new_figure,
    quiet,
    titled,
)


def rate_curves(task: Summary, summary: Summary):
    """One panel an arm: seeds, mean, chosen rate, unfinished runs; None if no rate was searched.

    All panels share their axes and show the other arms in grey, so that both the shape of a
    curve and its place among the others can be read.
    """
    from matplotlib.ticker import LogLocator

    searched = [arm for arm in task['arms'] if sum(p['rate'] is not None for p in arm['curve']) > 1]
    if not searched:
        return None
    metric = summary['val_metric']
    scale, styles = number_formats.scale_of(metric), arm_styles(task['arms'])
    columns = min(4, len(searched))
    rows = -(-len(searched) // columns)
    figure = new_figure(1.0 + 2.3 * columns, 0.7 + 2.1 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    lines = {arm['arm']: _line(arm, scale) for arm in searched}
    tried = [rate for rates, _ in lines.values() for rate in rates]
    # Powers of ten alone would leave an axis with one tick, or none.
    few = bool(tried) and max(tried) < 20 * min(tried)
    for axes, arm in zip(panels, searched, strict=False):
        for name, (rates, means) in lines.items():
            if name != arm['arm']:
                axes.plot(rates, means, color=LIGHT, linewidth=1.3, zorder=1)
        colour = styles[arm['arm']]['color']
        for point in arm['curve']:
            values = [scale * v for v in point['values'].values() if v is not None]
            axes.scatter(
                [point['rate']] * len(values),
                values,
                s=12,
                color=colour,
                alpha=0.4,
                linewidths=0,
                zorder=2,
            )
            if point['n_unfinished']:
                axes.annotate(
                    f'{point["n_unfinished"]} ✕',
                    (point['rate'], 0.02),
                    xycoords=('data', 'axes fraction'),
                    ha='center',
                    fontsize=8,
                    color=INK,
                )
        axes.plot(*lines[arm['arm']], color=colour, linewidth=1.8, zorder=3)
        chosen = next((p for p in arm['curve'] if p['rate'] == arm['rate']), None)
        if chosen is not None and chosen['mean'] is not None:
            axes.plot(
                chosen['rate'],
                scale * chosen['mean'],
                marker='o',
                markersize=9,
                mfc='white',
                mec=colour,
                mew=2,
                zorder=4,
            )
        axes.set_xscale('log')
        if few:
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
            axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
        quiet(axes, 'both')
        axes.minorticks_off()
        edge = {'low': '  (lowest tried)', 'high': '  (highest tried)'}.get(arm['rate_edge'], '')
        titled(axes, arm['arm'] + edge, 9.5)
    if any(p['n_unfinished'] for arm in searched for p in arm['curve']):
        # Room for the notes below the lowest score.
        low, high = panels[0].get_ylim()
        panels[0].set_ylim(low - 0.13 * (high - low), high)
    for axes in panels[len(searched) :]:
        axes.set_visible(False)
    for i, axes in enumerate(panels[: len(searched)]):
        # Under a panel without a neighbour below, the shared ticks must be switched on.
        if i + columns >= len(searched):
            axes.tick_params(labelbottom=True)
    figure.supxlabel('learning rate (ring: chosen; ✕: unfinished runs)', fontsize=9.5, color=INK)
    figure.supylabel(number_formats.headed(summary, 'validation'), fontsize=9.5, color=INK)
    return figure


def _line(arm: Summary, scale: float) -> tuple[list[float], list[float]]:
    points = [p for p in arm['curve'] if p['mean'] is not None and p['rate'] is not None]
    return [p['rate'] for p in points], [scale * p['mean'] for p in points]


def profiles(summary: Summary):
    """Performance profiles over all tasks: share of runs above each score; None for one task.

    Below each score where lower is better.
    """
    overall = summary['overall']
    if not overall or not overall['arms']:
        return None
    metric = summary['metric']
    scale, styles = number_formats.scale_of(metric), arm_styles(summary['tasks'][0]['arms'])
    lines = line_styles(summary['tasks'][0]['arms'])
    figure = new_figure(6.8, max(4.0, 0.4 + 0.2 * len(overall['arms'])))
    axes = figure.add_subplot()
    for arm in overall['arms']:
        profile, colour = arm['profile'], styles[arm['arm']]['color']
        thresholds = [scale * value for value in profile['thresholds']]
        if 'low' in profile:
            bounds = profile['low'], profile['high']
            axes.fill_between(thresholds, *bounds, color=colour, alpha=0.13, linewidth=0)
        drawn = {'color': colour, 'linestyle': lines[arm['arm']], 'label': arm['arm']}
        axes.plot(thresholds, profile['share'], linewidth=1.8, **drawn)
    axes.set_xlabel(f'score τ: {number_formats.headed(summary)}')
    side = 'above' if summary['higher_is_better'] else 'below'
    axes.set_ylabel(f'share of runs {side} τ')
    axes.set_ylim(-0.02, 1.02)
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=':')
    quiet(axes, 'both')
    figure.legend(frameon=False, fontsize=8.5, loc='outside right center', handlelength=3)
    return figure
