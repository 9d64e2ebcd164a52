"""False alarms and delays of scripts/monitor.py on simulated weeks, and what a server pays for it.

    python scripts/benchmark.py monitoring --out=results/monitoring

A small ViT is fine-tuned on the digits of scikit-learn and exported. Its program gives features
and answers of the digits that it was not trained on, as they are, with noise, brighter, with one
class more often. Weeks of traffic are drawn from these rows, with replacement, and go through the
code of scripts/monitor.py; of the features 16 principal components are kept, so that many weeks
are affordable. Writes table.md, table.json, false_alarms.png and delays.png.
"""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

import numpy as np

COMMAND = 'python scripts/benchmark.py monitoring --out=results/monitoring'
ALPHA = 0.05
WEEKS = 200
BEFORE, AFTER = 10, 30
"""Weeks without and with a change, in streams that measure delays."""
PARTS = ('false', 'uniform', 'delays', 'cost')


def run(
    folder: pathlib.Path,
    parts: str = 'false,uniform,delays,cost',
    streams: int = 300,
    delays: int = 30,
    answers: int = 40,
    seed: int = 0,
) -> None:
    """Writes the results; those of other parts in table.json are kept.

    Args:
      parts: what is measured.
      streams: without a change, of 200 weeks each.
      delays: streams of each change and size of a week.
      answers: of a week without a change.
      seed: of everything.
    """
    from benchmarks.monitoring_cost import cost
    from benchmarks.monitoring_pages import write_pages
    from benchmarks.monitoring_traffic import changed_rows, made_bundle

    from ftjax.errors import check_name
    from ftjax.io.files.atomic import write_json
    from ftjax.io.json.json_reader import read_object
    from ftjax.io.process.provenance import versions

    wanted = [check_name(part, PARTS, 'part') for part in parts.split(',')]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / 'table.json'
    found: dict[str, Any] = read_object(file) if file.exists() else {}
    found |= {'alpha': ALPHA, 'weeks': WEEKS, 'after': AFTER, 'seed': seed, 'versions': versions()}
    with tempfile.TemporaryDirectory() as beside:
        bundle = made_bundle(pathlib.Path(beside))
        rows = changed_rows(bundle, seed)
        if 'cost' in wanted:
            found['cost'] = cost(bundle)
    clean = rows.pop('no change')
    if 'false' in wanted:
        found['false'] = false_alarms(clean, streams, answers, seed)
    if 'uniform' in wanted:
        found['uniform'] = uniform(clean, seed)
    if 'delays' in wanted:
        found['delays'] = [
            {'change': name, 'answers': week, **delay(clean, moved, delays, week, seed)}
            for name, moved in rows.items()
            for week in (60, 200)
        ]
    write_json(file, found)
    if all(part in found for part in PARTS):
        write_pages(folder, found, COMMAND)
        print((folder / 'table.md').read_text())


def stream_of(clean: Any, reference: int, random: np.random.Generator, number: int) -> Any:
    """A stream that begins with a reference of a size, drawn from rows."""
    from ftjax.serving.monitoring.martingale import Evidence
    from ftjax.serving.monitoring.stream_state import STATISTICS, StreamState

    return StreamState(
        bundle=f'{number:064x}',
        alpha=ALPHA,
        statistics=list(STATISTICS),
        pool=clean.take(random.integers(0, len(clean), reference)),
        evidence={name: Evidence() for name in STATISTICS},
    )


def week_of(rows: Any, count: int, number: int, random: np.random.Generator) -> Any:
    """A week of answers drawn from rows."""
    from ftjax.serving.monitoring.periods import Period

    drawn, none = rows.take(random.integers(0, len(rows), count)), np.zeros(0)
    start = number * 604_800
    return Period(start, start + 604_800, count, 0, 0, drawn, (), none, none, none)


def false_alarms(clean: Any, streams: int, answers: int, seed: int) -> dict[str, Any]:
    """When each stream without a change first alarms, and by two ways that do not correct."""
    from ftjax.io.process.progress import Progress
    from ftjax.serving.monitoring.compare_windows import alarms_of, take_period

    names = tuple(map(str, range(clean.measures.shape[1])))
    ours, weekly, split = [], [], []
    with Progress(streams, 'streams without a change', unit='stream') as bar:
        for number in range(streams):
            random = np.random.default_rng([seed, 1, number])
            state, first = stream_of(clean, 200, random, number), {}
            for week in range(1, WEEKS + 1):
                take_period(state, week_of(clean, answers, week, random), names, 99, pool=250)
                if alarms_of(state):
                    first.setdefault('ours', week)
                p = [row['p'] for row in state.periods[-1]['statistics'].values()]
                if min(p) <= ALPHA:
                    first.setdefault('weekly', week)
                if min(p) <= ALPHA / len(p):
                    first.setdefault('split', week)
            for name, weeks in (('ours', ours), ('weekly', weekly), ('split', split)):
                weeks.append(first.get(name))
            bar.update(number + 1)
    return {'streams': streams, 'answers': answers, 'ours': ours, 'weekly': weekly, 'split': split}


def uniform(clean: Any, seed: int, draws: int = 100) -> dict[str, Any]:
    """At the defaults of scripts/monitor.py: the p of Kolmogorov and Smirnov's test of p itself."""
    from scipy import stats

    from ftjax.serving.monitoring.two_sample import compare

    random, found = np.random.default_rng([seed, 2]), []
    names = tuple(map(str, range(clean.measures.shape[1])))
    for number in range(draws):
        old, new = (clean.take(random.integers(0, len(clean), size)) for size in (400, 120))
        found.append(compare(old, new, names, number))
    tests = {
        name: float(stats.kstest([one[name].p for one in found], 'uniform').pvalue)
        for name in found[0]
    }
    return {'draws': draws, 'p': tests}


def delay(clean: Any, moved: Any, streams: int, answers: int, seed: int) -> dict[str, Any]:
    """Weeks from the change to the alarm, None for none within AFTER; alarms before it."""
    from ftjax.serving.monitoring.compare_windows import alarms_of, take_period

    names = tuple(map(str, range(clean.measures.shape[1])))
    found: list[int | None] = []
    early = 0
    for number in range(streams):
        random = np.random.default_rng([seed, 3, answers, number])
        state = stream_of(clean, 400, random, number)
        after = None
        for week in range(1, BEFORE + AFTER + 1):
            rows = clean if week <= BEFORE else moved
            take_period(state, week_of(rows, answers, week, random), names, 499, pool=1000)
            if alarms_of(state):
                after = week - BEFORE
                break
        if after is not None and after <= 0:
            early += 1
        else:
            found.append(after)
    return {'streams': streams, 'early': early, 'delays': found}
