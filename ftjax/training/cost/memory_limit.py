"""How much memory a device has, and sizes as people write and read them."""

from __future__ import annotations

import re

import jax

from ftjax.errors import UserError
from ftjax.io.process.host_memory import host_limit

_UNITS = {'': 1, 'k': 1000, 'm': 1000**2, 'g': 1000**3, 't': 1000**4}
_BINARY = {'ki': 2**10, 'mi': 2**20, 'gi': 2**30, 'ti': 2**40}


def device_limit() -> int | None:
    """Bytes that a program may use of the smallest local device; None where nobody knows.

    A CPU has the machine's memory, or what the container that the process runs in may use.
    """
    counts = [device.memory_stats() or {} for device in jax.local_devices()]
    limits = [count['bytes_limit'] for count in counts if 'bytes_limit' in count]
    if limits:
        return min(limits)
    return host_limit() if jax.default_backend() == 'cpu' else None


def read_size(text: str, what: str = '--memory_limit') -> int:
    """Bytes of a size such as '8GiB', '500 MB' or '1.5G'; UserError for anything else.

    >>> read_size('8GiB') == 8 * 2**30, read_size('1.5 MB')
    (True, 1500000)
    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*', text, re.IGNORECASE)
    if match is None or not float(match[1]):
        raise UserError(f"{what} is {text!r}; expected a size such as '8GiB' or '500MB'")
    return int(float(match[1]) * {**_UNITS, **_BINARY}[(match[2] or '').lower()])
