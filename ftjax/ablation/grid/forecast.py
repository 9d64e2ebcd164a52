"""What is said before a grid starts: how many programs, how long, how much disk."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from ftjax.ablation.engines.engine import Cell, Job
from ftjax.ablation.statistics.row_types import Rows
from ftjax.io.process.progress import duration

ROW_BYTES = 3_000
REPORT_BYTES = 4_000_000
"""Of table, figures and report.html."""


def forecast(
    jobs: Sequence[Job],
    rows: Rows,
    expected: Callable[[str], float],
    workers: int = 1,
    stored: int = 0,
) -> str:
    """One line on the jobs of the present round.

    Args:
      jobs: what is to run.
      rows: finished rows; the time of an arm that has some is their median.
      expected: seconds of a run of an arm that has none.
      workers: jobs that run at a time.
      stored: bytes of features in files.

    >>> forecast([(('a', 0.1, 0),), (('a', 0.1, 1),)], [], lambda arm: 60.0, workers=2)
    '2 to run now: about 1 min 00 s with 2 workers, compilation apart, and 4 MB of disk'
    """
    known: dict[str, list[float]] = {}
    for row in rows:
        if row['status'] == 'ok' and row.get('wall_seconds'):
            known.setdefault(row['arm'], []).append(row['wall_seconds'])

    def of(cell: Cell) -> float:
        arm = cell[0]
        return statistics.median(known[arm]) if arm in known else expected(arm)

    seconds = makespan([sum(of(cell) for cell in job) for job in jobs], workers)
    count = sum(len(job) for job in jobs)
    shared = [job for job in jobs if len(job) > 1]
    parts = [f'{count} to run now']
    if shared:
        together = sum(len(job) for job in shared)
        programs = f'{len(shared)} program{"s" if len(shared) > 1 else ""}'
        parts.append(f', {together} of them in {programs}')
    shared_by = f' with {workers} workers' if workers > 1 else ''
    size = REPORT_BYTES + ROW_BYTES * (count + len(rows)) + stored
    parts.append(
        f': about {duration(seconds)}{shared_by}, compilation apart, and {sized(size)} of disk'
    )
    return ''.join(parts)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last of the jobs ends, each begun in order by the first worker that is free.

    >>> makespan([3, 1, 1, 1], 2), makespan([3, 1, 1, 1], 1)
    (3.0, 6.0)
    """
    free = [0.0] * max(1, workers)
    for length in seconds:
        first = min(range(len(free)), key=free.__getitem__)
        free[first] += length
    return max(free)


def sized(count: int) -> str:
    """Bytes as people say them.

    >>> sized(4_000_000), sized(2_500_000_000)
    ('4 MB', '2.5 GB')
    """
    return f'{count / 1e9:.1f} GB' if count >= 1e9 else f'{count / 1e6:.0f} MB'
