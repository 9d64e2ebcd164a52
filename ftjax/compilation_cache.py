"""Compiled programs kept on disk, so that a second run starts in a fraction of the time."""

from __future__ import annotations

import errno
import functools
import logging
import os
import pathlib
import platform
import zlib

import jax


def enable_compilation_cache(folder: str | os.PathLike[str] | None = None) -> str | None:
    """Keeps compiled programs between runs; returns the folder, None if it is not writable.

    Args:
      folder: default $FTJAX_CACHE, else ~/.cache/ftjax; JAX_COMPILATION_CACHE_DIR wins over
        all. Programs lie in a subfolder per kind of processor, because code compiled for one
        may not run on another that shares the home folder.
    """
    chosen = os.environ.get('JAX_COMPILATION_CACHE_DIR')
    if chosen is None:
        root = folder or os.environ.get('FTJAX_CACHE') or pathlib.Path('~/.cache/ftjax')
        kind = f'jax-{jax.__version__}-{processor_kind()}'
        chosen = str(pathlib.Path(root).expanduser() / 'compiled' / kind)
    try:
        pathlib.Path(chosen).mkdir(parents=True, exist_ok=True)
        if not os.access(chosen, os.W_OK):
            raise PermissionError(errno.EACCES, 'not writable', chosen)
    except OSError as error:
        logging.getLogger('ftjax').warning('no compilation cache: %s', error)
        return None
    jax.config.update('jax_compilation_cache_dir', chosen)
    # The defaults leave out whatever compiles in a second, which here is nearly everything.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
    return chosen


@functools.cache
def processor_kind() -> str:
    """Eight digits that are the same on processors that the same code gives the same bits on."""
    return f'{zlib.crc32(_processor().encode()):08x}'


def _processor() -> str:
    try:
        lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    return ''.join(sorted({x for x in lines if x.startswith(('flags', 'model name', 'Features'))}))
