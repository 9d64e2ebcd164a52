"""Fields of a row that are those of all tasks of a sequence together."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def joint_splits(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sizes and leaks of all tasks, added up.

    Leaks are of the tasks in which copies were looked for, and `n` counts the test examples of
    these. Near copies are None where none of them was looked through.

    >>> one = {'sizes': {'train': 8, 'test': 4}, 'leaks': {'exact': 1, 'near': 0, 'n': 4}}
    >>> other = {'sizes': {'train': 6, 'test': 2}, 'leaks': {'exact': 0, 'near': None, 'n': 2}}
    >>> joint_splits([one, other])
    {'sizes': {'train': 14, 'test': 6}, 'leaks': {'exact': 1, 'near': 0, 'n': 6}}
    """
    known = list(parts)
    found = {'sizes': _added([part['sizes'] for part in known])}
    told = [part['leaks'] for part in known if part.get('leaks')]
    compared = [leaks for leaks in told if leaks.get('exact') is not None]
    if told:
        found['leaks'] = _added(compared or told)
    return found


def joint_hash(fingerprints: Iterable[str]) -> str:
    """One fingerprint of the data of all tasks, in their order."""
    return hashlib.sha256(' '.join(fingerprints).encode()).hexdigest()


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of some scores; None where one of them is undefined.

    >>> mean_of([0.25, 0.75]), mean_of([0.25, None])
    (0.5, None)
    """
    known = list(values)
    numbers = [value for value in known if value is not None]
    return statistics.fmean(numbers) if len(numbers) == len(known) else None


def _added(parts: Sequence[Mapping[str, int | None]]) -> dict[str, int | None]:
    """Sums by name, of what is known; None where nothing is."""
    found: dict[str, int | None] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        counts = [part.get(name) for part in parts]
        numbers = [count for count in counts if count is not None]
        found[name] = sum(numbers) if numbers else None
    return found
