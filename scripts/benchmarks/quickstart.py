"""The ablation of the quickstart, beside what it was on an older commit."""

from __future__ import annotations

import io
import os
import pathlib
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent.parent
BEFORE = '970a63e'
"""The commit with the first results of the quickstart."""
CONFIG = 'configs/quickstart.py'
CAPTION = (
    "Seconds of the quickstart's ablation from the command to its report, with an empty "
    'compilation cache. Ratio: over the same of commit {before}, in turn with it; spread: least '
    'and most of the repeats. Runs: how many it takes to give every arm equally many rates and a '
    'best one inside them; arms have grids of their own by now. Within: arms whose mean lies in '
    'the 95 % interval that commit {before} gives them.'
)
COMMAND = 'python scripts/benchmark.py quickstart'


def run(
    folder: pathlib.Path, repeats: int = 2, before: str = BEFORE, workers: int | None = None
) -> list[dict[str, Any]]:
    """Writes quickstart.json and quickstart.md; needs the repository's history.

    Args:
      workers: those of the processes; None for one a processor, four at most, as
        scripts/quickstart.sh has it.
    """
    from benchmarks import tables

    workers = workers or min(4, len(os.sched_getaffinity(0)))
    parallel = ['--engine=processes', f'--workers={workers}']
    with tempfile.TemporaryDirectory() as name:
        room = pathlib.Path(name)
        check_out(before, room / 'before')
        ways = {
            f'commit {before}, in one process': (room / 'before', []),
            'now, in one process': (ROOT, []),
            f'now, {workers} worker processes (quickstart.sh)': (ROOT, parallel),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        arms: dict[str, dict[str, Any]] = {}
        runs: dict[str, int] = {}
        for number in range(repeats):
            for way, (tree, flags) in ways.items():
                work = room / f'{number}_{len(times[way])}_{list(ways).index(way)}'
                times[way].append(seconds_of(tree, flags, work))
                arms[way] = means(work / 'runs' / 'summary.json')
                runs[way] = len((work / 'runs' / 'runs.jsonl').read_text('utf-8').splitlines())
    first, *_ = ways
    rows = [
        {
            'row': way,
            'seconds': statistics.median(found),
            'spread': [min(found), max(found)],
            'ratio': statistics.median(times[first]) / statistics.median(found),
            'target': None if way == first else 2.0,
            'runs': runs[way],
            'within': f'{within(arms[way], arms[first])} of {len(arms[first])}',
            'repeats': repeats,
        }
        for way, found in times.items()
    ]
    tables.write(folder, 'quickstart', rows, CAPTION.format(before=before), COMMAND)
    return rows


def check_out(commit: str, folder: pathlib.Path) -> None:
    """The tree of a commit, in a folder of its own."""
    tree = subprocess.run(
        ['git', 'archive', '--format=tar', commit], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(tree.stdout)) as archive:
        archive.extractall(folder, filter='data')


def seconds_of(tree: pathlib.Path, flags: list[str], work: pathlib.Path) -> float:
    """How long scripts/ablate.py of a tree takes, with nothing compiled before."""
    environment = os.environ | {'FTJAX_CACHE': str(work / 'cache'), 'PYTHONPATH': str(tree)}
    environment.pop('JAX_COMPILATION_CACHE_DIR', None)
    command = [sys.executable, 'scripts/ablate.py', f'--config={CONFIG}']
    began = time.perf_counter()
    done = subprocess.run(
        [*command, f'--workdir={work / "runs"}', *flags],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f'{tree}: ended with {done.returncode}: {done.stderr[-2000:]}')
    return time.perf_counter() - began


def means(summary: pathlib.Path) -> dict[str, Any]:
    """{arm: its mean with interval} of an ablation's summary."""
    from ftjax.ablation.summary.summary import read_summary

    tasks = read_summary(summary)['tasks']
    return {found['arm']: found['mean'] for found in tasks[0]['arms']}


def within(found: dict[str, Any], known: dict[str, Any]) -> int:
    """How many arms have a mean inside the interval of the other table."""
    return sum(
        known[arm]['low'] <= one['estimate'] <= known[arm]['high'] for arm, one in found.items()
    )
