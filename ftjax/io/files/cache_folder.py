"""The folder of what can be made again: it may be deleted at any time."""

from __future__ import annotations

import os
import pathlib


def cache_folder() -> pathlib.Path:
    """$FTJAX_CACHE, else $XDG_CACHE_HOME/ftjax, else ~/.cache/ftjax."""
    chosen = os.environ.get('FTJAX_CACHE')
    if not chosen:
        chosen = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / 'ftjax'
    return pathlib.Path(chosen).expanduser()
