"""The kind of processor: what is compiled or computed on one may differ on another."""

from __future__ import annotations

import functools
import pathlib
import platform
import re
import zlib

# Flag of the operating system -> what it is called, the widest first.
INSTRUCTIONS = {
    'amx_tile': 'AMX',
    'avx512f': 'AVX-512',
    'avx2': 'AVX2',
    'asimd': 'NEON',
    'neon': 'NEON',
}


@functools.cache
def processor_kind() -> str:
    """Eight digits, the same on processors that the same code gives the same bits on."""
    return f'{zlib.crc32(_described().encode()):08x}'


def instruction_set() -> str:
    """The widest vector instructions that the processor has: AMX, AVX-512, AVX2, NEON or ''."""
    flags = set(' '.join(re.findall(r'(?m)^(?:flags|Features)\s*:(.*)$', _cpuinfo())).split())
    return next((said for flag, said in INSTRUCTIONS.items() if flag in flags), '')


def processor_name() -> str:
    """The processor as it names itself, or its architecture."""
    named = re.search(r'(?m)^model name\s*:(.*)$', _cpuinfo())
    return named[1].strip() if named else platform.processor() or platform.machine()


def _cpuinfo() -> str:
    try:
        return pathlib.Path('/proc/cpuinfo').read_text()
    except OSError:  # not Linux
        return ''


def _described() -> str:
    lines = _cpuinfo().splitlines()
    if not lines:
        return platform.machine() + platform.processor()
    return ''.join(sorted({x for x in lines if x.startswith(('flags', 'model name', 'Features'))}))
