"""The tables and figures of the simulation of monitoring."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np


def write_pages(folder: pathlib.Path, found: dict[str, Any], command: str) -> None:
    """Writes table.md, false_alarms.png and delays.png."""
    from ftjax.io.files.atomic import write_text
    from ftjax.plotting.save import save_figure

    save_figure(false_figure(found), folder / 'false_alarms.png')
    save_figure(delay_figure(found), folder / 'delays.png')
    write_text(folder / 'table.md', table(found, command))


def table(found: dict[str, Any], command: str) -> str:
    """All results as Markdown."""
    from ftjax.evaluation.intervals import wilson_interval

    false, weeks, after = found['false'], found['weeks'], found['after']
    lines = [
        '# Monitoring: false alarms, delays, cost',
        '',
        f'By `{command}`. Weeks of traffic are drawn from what a bundle gives for digits that its '
        'network was not trained on, and go through the code of `scripts/monitor.py`. Stated: '
        f'at most {100 * found["alpha"]:g} % of streams without a change ever alarm. So that many '
        'weeks are affordable, less is computed than by default: 16 principal components of the '
        'features; 99 random divisions (499 for delays) in place of 1,999; a week is compared with '
        '250 (1,000) examples at most, not 4,096, which begin with 200 (400) of a reference.',
        '',
        '![Streams without a change that have alarmed](false_alarms.png)',
        '',
        f'## False alarms in {weeks} weeks without a change',
        '',
        f'{false["streams"]} streams, {false["answers"]} answers a week; intervals are Wilson, '
        '95 %.',
        '',
        '| way | streams with a false alarm |',
        '|---|---|',
    ]
    ways = {
        'ours': 'scripts/monitor.py',
        'weekly': 'alarm where any p of the week is at most 5 %',
        'split': 'the same at 5 % / 4, for four statistics',
    }
    for key, name in ways.items():
        hits = sum(week is not None for week in false[key])
        low, high = wilson_interval(hits, false['streams'])
        lines.append(
            f'| {name} | {hits} of {false["streams"]}: {100 * hits / false["streams"]:.1f} % '
            f'[{100 * low:.1f}, {100 * high:.1f}] |'
        )
    uniform = ', '.join(f'{name} {p:.2f}' for name, p in found['uniform']['p'].items())
    lines += [
        '',
        'Without a change p has to be uniform. At the defaults (1,999 divisions), over '
        f"{found['uniform']['draws']} draws, Kolmogorov and Smirnov's test of that gives p: "
        f'{uniform}.',
        '',
        '## Weeks until the alarm',
        '',
        '![Weeks from a change to its alarm](delays.png)',
        '',
        'The change comes after ten weeks and stays; 1 is the week in which it comes. Alarms '
        'before it are false ones, and are in no median.',
        '',
        f'| change | answers a week | median | 9 of 10 within | none in {after} weeks | false '
        'before |',
        '|---|---|---|---|---|---|',
    ]
    for row in found['delays']:
        delays = np.array([np.inf if one is None else one for one in row['delays']], float)
        missed = sum(one is None for one in row['delays'])
        shown = [_weeks(np.quantile(delays, q, method='higher'), after) for q in (0.5, 0.9)]
        lines.append(
            f'| {row["change"]} | {row["answers"]} | {shown[0]} | {shown[1]} | {missed} of '
            f'{len(delays)} | {row["early"]} of {row["streams"]} |'
        )
    lines += [
        '',
        '## What a server pays',
        '',
        f'Medians of {found["cost"]["rounds"]} requests each, in turn with and without '
        '`--monitor`, in one process on a CPU, without HTTP.',
        '',
        '| images a request | without, ms | with, ms | difference, ms | an image, µs |',
        '|---|---|---|---|---|',
    ]
    for row in found['cost']['requests']:
        each = 1000 * row['difference'] / row['inputs']
        lines.append(
            f'| {row["inputs"]} | {row["without"]:.2f} | {row["with"]:.2f} | '
            f'{row["difference"]:.3f} | {each:.0f} |'
        )
    return '\n'.join(lines) + '\n'


def _weeks(value: float, most: int) -> str:
    return f'over {most}' if value > most else f'{value:.0f}'


def false_figure(found: dict[str, Any]) -> Any:
    """Share of streams that have alarmed by week, three ways, on a logarithmic axis."""
    from ftjax.evaluation.intervals import wilson_interval
    from ftjax.plotting.style import COLOURS, GREY, new_figure, quiet, titled

    false, weeks = found['false'], np.arange(1, found['weeks'] + 1)
    made = new_figure(7.5, 3.6)
    axes = made.subplots()
    names = {
        'ours': 'scripts/monitor.py',
        'split': 'weekly p at 5 % / 4',
        'weekly': 'weekly p at 5 %',
    }
    for number, (key, name) in enumerate(names.items()):
        first = np.array([np.inf if one is None else one for one in false[key]], float)
        hits = (first[:, None] <= weeks).sum(axis=0)
        axes.plot(weeks, 100 * hits / len(first), color=COLOURS[number], lw=2, label=name)
        bounds = np.array([wilson_interval(int(h), len(first)) for h in hits])
        axes.fill_between(weeks, *(100 * bounds.T), color=COLOURS[number], alpha=0.2, lw=0)
    axes.axhline(100 * found['alpha'], color=GREY, ls='--', lw=1.2, label='stated: at most 5 %')
    axes.set_ylim(0, 102)
    axes.set_xlabel('week')
    axes.set_ylabel('streams that have alarmed (%)')
    titled(axes, 'Nothing has changed: each alarm here is false')
    axes.legend(fontsize=8.5, frameon=False, loc='center right')
    quiet(axes)
    return made


def delay_figure(found: dict[str, Any]) -> Any:
    """Median weeks to the alarm with the range of 8 of 10 streams, by change."""
    from ftjax.plotting.style import COLOURS, new_figure, quiet, titled

    rows, most = found['delays'], found['after']
    changes = list(dict.fromkeys(row['change'] for row in rows))
    made = new_figure(7.5, 0.6 + 0.42 * len(changes))
    axes = made.subplots()
    for number, week in enumerate(sorted({row['answers'] for row in rows})):
        for place, change in enumerate(changes):
            (row,) = (r for r in rows if (r['change'], r['answers']) == (change, week))
            delays = np.array([most if one is None else one for one in row['delays']], float)
            low, middle, high = np.quantile(delays, (0.1, 0.5, 0.9))
            y = len(changes) - place + 0.16 * (1 - 2 * number)
            name = f'{week} answers a week' if not place else None
            axes.plot([low, high], [y, y], color=COLOURS[number], lw=2)
            axes.plot(middle, y, 'o', color=COLOURS[number], ms=6, label=name)
    axes.set_yticks(range(len(changes), 0, -1), changes)
    axes.set_xlim(0.8, 1.15 * most)
    axes.set_xscale('log')
    ticks = [1, 2, 3, 5, 10, 20, most]
    axes.set_xticks(ticks, [*map(str, ticks[:-1]), f'none in {most}'])
    axes.minorticks_off()
    axes.set_xlabel('weeks from the change to the alarm: median, and 8 of 10 streams')
    titled(axes, 'How soon a change is seen')
    axes.legend(fontsize=8.5, frameon=False, loc='center right')
    quiet(axes, 'x')
    return made
