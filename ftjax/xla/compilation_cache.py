"""Compiled programs kept on disk, so that a second run starts in a fraction of the time."""

from __future__ import annotations

import errno
import logging
import os
import pathlib

import jax

from ftjax.io.process.processor import processor_kind


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
