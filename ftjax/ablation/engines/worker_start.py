"""What a worker process needs before its first run, as a script's own process has it."""

from __future__ import annotations

import contextlib
import os
import runpy

from ftjax.xla.compilation_cache import enable_compilation_cache


def start_worker(config: str, folder: str) -> None:
    """Keeps compiled programs on disk, and runs the config file, which may add strategies.

    Args:
      config: as the flag --config has it, `FILE.py[:ARGUMENT]`.
      folder: the working directory that its paths are relative to.
    """
    with contextlib.suppress(OSError):  # another machine of a cluster may not have it
        os.chdir(folder)
    enable_compilation_cache()
    file, *argument = config.split(':', 1)
    runpy.run_path(file)['get_config'](*argument)
