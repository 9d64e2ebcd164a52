"""How much main memory there is."""

from __future__ import annotations

import contextlib
import os
import pathlib


def host_limit() -> int | None:
    """Bytes of main memory that this process may use; None where nobody knows."""
    found = []
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))
    for name in ('memory.max', 'memory/memory.limit_in_bytes'):
        with contextlib.suppress(OSError, ValueError):  # no such file, or `max`
            found.append(int((pathlib.Path('/sys/fs/cgroup') / name).read_text()))
    return min((size for size in found if size > 0), default=None)
