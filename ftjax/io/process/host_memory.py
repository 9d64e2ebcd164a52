"""How much main memory there is, and sizes as people read them."""

from __future__ import annotations

import contextlib
import os
import pathlib

_FILES = (
    'memory.max memory.current memory.stat file',
    'memory/memory.limit_in_bytes memory/memory.usage_in_bytes memory/memory.stat cache',
)
"""Of the two versions of control groups: limit, use, and where it says how much files take."""


def host_limit() -> int | None:
    """Bytes of main memory that this process may use; None where nobody knows."""
    found = [limit for limit, _ in _container()]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))
    return min((size for size in found if size > 0), default=None)


def host_free() -> int | None:
    """Bytes of main memory that are free for this process; None where nobody knows.

    What the kernel keeps of files counts as free: it gives that back.
    """
    found = [max(0, limit - used) for limit, used in _container()]
    with contextlib.suppress(OSError, ValueError, LookupError):
        told = pathlib.Path('/proc/meminfo').read_text().partition('MemAvailable:')[2]
        found.append(1024 * int(told.split()[0]))
    return min(found, default=host_limit())


def _container() -> list[tuple[int, int]]:
    """The limit of the container that the process runs in, and what is used of it; [] if none."""
    found, place = [], pathlib.Path('/sys/fs/cgroup')
    for names in _FILES:
        limit, used, stat, files = names.split()
        with contextlib.suppress(OSError, ValueError):  # no such file, or `max`
            most, taken = int((place / limit).read_text()), 0
            with contextlib.suppress(OSError, ValueError):
                told = dict(line.split() for line in (place / stat).read_text().splitlines())
                taken = int((place / used).read_text()) - int(told.get(files, 0))
            found.append((most, taken))
    return found


def shown_size(size: float) -> str:
    """Bytes as people read them.

    >>> shown_size(3 * 2**30), shown_size(1536), shown_size(40)
    ('3.00 GiB', '1.50 KiB', '40 bytes')
    """
    for unit, name in ((2**30, 'GiB'), (2**20, 'MiB'), (2**10, 'KiB')):
        if size >= unit:
            return f'{size / unit:.2f} {name}'
    return f'{size:.0f} bytes'
