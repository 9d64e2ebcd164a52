"""How many test examples of an ablation also stand in training, read off its rows."""

from __future__ import annotations

from ftjax.ablation.statistics.row_types import Rows


def leaked(rows: Rows) -> list[str]:
    """A sentence for each task whose rows tell, the most of any of its splits.

    >>> found = {'exact': 2, 'near': 0, 'n': 50}
    >>> leaked([{'leaks': found}, {'leaks': {**found, 'exact': 0}}])
    ['Test examples that also stand in training: up to 2 of 50 exact, 0 near copies.']
    >>> leaked([{'leaks': {**found, 'exact': 0, 'near': None}}])
    ['Test examples that also stand in training: 0 of 50 exact; near copies were not looked for.']
    """
    found = []
    tasks = dict.fromkeys(row.get('task', 'all') for row in rows)
    for task in tasks:
        of_task = [row for row in rows if row.get('task', 'all') == task and row.get('leaks')]
        if not of_task:
            continue
        where = '' if len(tasks) == 1 else f'{task}: '
        n = max(row['leaks'].get('n') or 0 for row in of_task)
        exact, near = (_most(of_task, kind) for kind in ('exact', 'near'))
        told = 'not compared' if exact is None else f'{exact} of {n} exact'
        told += '; near copies were not looked for' if near is None else f', {near} near copies'
        found.append(f'{where}Test examples that also stand in training: {told}.')
    return found


def _most(rows: Rows, kind: str) -> str | None:
    counts = [row['leaks'].get(kind) for row in rows]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return None
    return f'{"up to " if min(known) < max(known) else ""}{max(known):,}'
