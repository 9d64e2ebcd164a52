"""How often verdicts of ablations are wrong, and what they find: simulated grids of known truth."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np

SEEDS, ARMS = (3, 5, 10), (5, 10, 50)
MANY = 50
"""From so many arms on there are half as many grids: each takes longer."""
FOOTNOTES = {'seeds': (2, 3, 5, 10), 'arms': (1, 2, 4, 8, 16, 50)}
CAPTION = (
    'Simulated grids whose truth is known: half of the arms (besides the reference) differ from it '
    'by 3 standard deviations of the noise, the others not at all. Miss: share of grids in which '
    'one of the simultaneous 95 % intervals or more misses the true difference; wrong: in which '
    'one verdict or more is `better` or `worse` where there is no difference, or the contrary; '
    'power: share of the arms that differ which are found. Holm: paired t tests with '
    "Holm's correction. Cases: {cases}."
)
COMMAND = 'python scripts/benchmark.py verdicts --out=results/statistics'


def run(
    folder: pathlib.Path, grids: int = 2000, footnotes: bool = True, cases: list[str] | None = None
) -> list[dict[str, Any]]:
    """Writes table.json, table.md and error_rates.png; rows that are there already are kept.

    Args:
      grids: of each size and case; half as many from MANY arms on.
      footnotes: measure the sizes as well that the footnotes of reports tell of, a quarter as
        many grids each; written to error_rates.json, for ftjax/ablation/statistics.
      cases: some of those in ftjax/ablation/statistics/simulation.py; all unless given.
    """
    from benchmarks.tables import known_rows, write

    from ftjax.ablation.statistics.simulation import CASES, measure
    from ftjax.io.process.progress import Progress

    rows = known_rows(folder, 'table')
    rows = [row for row in rows if row['grids'] == of_size(grids, row['arms'])]
    sizes = [(case, arms, seeds) for case in cases or CASES for arms in ARMS for seeds in SEEDS]
    todo = [size for size in sizes if size not in [_size(row) for row in rows]]
    caption = CAPTION.format(cases='; '.join(f'{name}: {said}' for name, said in CASES.items()))
    with Progress(len(todo), 'verdicts', unit='size') as bar:
        for done, (case, arms, seeds) in enumerate(todo, 1):
            count = of_size(grids, arms)
            ours = measure(case, arms, seeds, count)
            holm = measure(case, arms, seeds, count, holm_tests)
            rows.append(
                {
                    'case': case,
                    'arms': arms,
                    'seeds': seeds,
                    **dataclasses.asdict(ours),
                    'holm wrong': holm.wrong,
                    'holm power': holm.power,
                }
            )
            rows.sort(key=lambda row: sizes.index(_size(row)) if _size(row) in sizes else -1)
            write(folder, 'table', rows, caption, COMMAND, show=False, timed=False)
            bar.update(done, {'case': case})
    draw(folder, rows)
    if footnotes:
        measure_footnotes(folder, grids // 4)
    print((folder / 'table.md').read_text(encoding='utf-8'))
    return rows


def measure_footnotes(folder: pathlib.Path, grids: int) -> None:
    """Writes error_rates.json: misses with equal and with unequal variances, a size a row."""
    from ftjax.ablation.statistics.simulation import measure
    from ftjax.io.files.atomic import write_json
    from ftjax.io.process.progress import Progress

    sizes = [(arms, seeds) for arms in FOOTNOTES['arms'] for seeds in FOOTNOTES['seeds']]
    found = []
    with Progress(len(sizes), 'footnotes', unit='size') as bar:
        for done, (arms, seeds) in enumerate(sizes, 1):
            rates = {case: measure(case, arms, seeds, grids).miss for case in ('equal', 'unequal')}
            found.append({'arms': arms, 'seeds': seeds, 'grids': grids, **rates})
            bar.update(done, {'arms': arms})
    write_json(folder / 'error_rates.json', found)


def of_size(grids: int, arms: int) -> int:
    """How many grids there are of a size."""
    return grids // 2 if arms >= MANY else grids


def holm_tests(table: np.ndarray) -> np.ndarray:
    """Paired t tests with Holm's correction, as intervals that only tell the sign."""
    from scipy import stats

    differences = table[1:] - table[0]
    with np.errstate(invalid='ignore'):
        tests = stats.ttest_1samp(differences, 0.0, axis=1, nan_policy='omit')
    order = np.argsort(tests.pvalue)
    levels = tests.pvalue[order] * np.arange(len(order), 0, -1)
    rejected = np.zeros(len(order), bool)
    rejected[order] = np.maximum.accumulate(levels) < 0.05
    means = np.nanmean(differences, axis=1)
    least = np.finfo(float).tiny
    low = np.where(rejected & (means > 0), least, -np.inf)
    return np.array([low, np.where(rejected & (means < 0), -least, np.inf)])


def draw(folder: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    """A panel each of misses and of power, over the sizes; a line a case."""
    from ftjax.plotting.save import save_figure
    from ftjax.plotting.style import COLOURS, GREY, MARKERS, new_figure, quiet, titled

    sizes = list(dict.fromkeys((row['arms'], row['seeds']) for row in rows))
    figure = new_figure(10.4, 3.9)
    panels = figure.subplots(1, 2)
    looks = [
        (case, {'color': COLOURS[number], 'marker': MARKERS[number], 'markersize': 4.5})
        for number, case in enumerate(dict.fromkeys(row['case'] for row in rows))
    ]
    for arms in dict.fromkeys(arms for arms, _ in sizes):  # lines join sizes of as many arms
        for case, look in looks:
            found = [row for row in rows if (row['case'], row['arms']) == (case, arms)]
            places = [sizes.index((arms, row['seeds'])) for row in found]
            label = case if arms == sizes[0][0] else None
            for axes, key in zip(panels, ('miss', 'power'), strict=True):
                axes.plot(places, [100 * row[key] for row in found], label=label, **look)
            if case == 'equal':
                holm = [100 * row['holm power'] for row in found]
                label = "Holm's paired t, equal" if label else None
                panels[1].plot(places, holm, color=GREY, linestyle='--', label=label)
    panels[0].axhline(5, color=GREY, linewidth=1, linestyle='--')
    titled(panels[0], 'grids in which an interval misses (%); dashed: promised')
    titled(panels[1], 'arms that differ by 3 sd and are found (%)')
    for axes in panels:
        axes.set_xticks(range(len(sizes)), [f'{arms}×{seeds}' for arms, seeds in sizes])
        axes.set_xlabel('arms × seeds')
        axes.set_ylim(bottom=0)
        quiet(axes)
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, loc='outside right center')
    save_figure(figure, folder / 'error_rates.png')


def _size(row: dict[str, Any]) -> tuple[str, int, int]:
    return row['case'], row['arms'], row['seeds']
