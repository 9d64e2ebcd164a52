"""How many cores this process may use: those it is bound to, within the limit of its container."""

from __future__ import annotations

import math
import os
import pathlib

QUOTA = pathlib.Path('/sys/fs/cgroup/cpu.max')


def own_cores(quota: pathlib.Path = QUOTA) -> int:
    """Whole cores, at least 1.

    Args:
      quota: of the container: `MICROSECONDS PERIOD`, or `max PERIOD` for no limit.
    """
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()[:2]
        limit = int(share) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # another system, or `max`
        return cores
    return max(1, min(cores, math.ceil(limit)))
