"""Reading one checkpoint, every leaf checked against its hash; setting aside damaged ones."""

from __future__ import annotations

import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.errors import check_name
from ftjax.training.checkpoints.manifest import (
    DamagedError,
    identity_of,
    metrics_of,
    read_manifest,
    rebuild,
)
from ftjax.training.checkpoints.saving import quiet

_log = logging.getLogger(__name__)


def read_step(
    manager: Any, folder: pathlib.Path, step: int, only: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, float], dict[str, Any] | None]:
    """(items, metrics, identity) of the checkpoint of a step.

    Args:
      manager: Orbax's, of this folder.
      folder: of all checkpoints.
      step: of the one to read.
      only: names of the items to read; None for all.

    Raises:
      DamagedError: it was not finished, or is not what was saved.
      UserError: an item in `only` was not saved, or a later version of ftjax wrote it.
    """
    import orbax.checkpoint as ocp

    if step not in manager.all_steps():
        raise DamagedError('it was not finished')
    manifest = read_manifest(folder / str(step), step)
    for name in only or ():
        check_name(name, manifest['items'], f'item of checkpoint {step}')
    wanted = [name for name in manifest['items'] if only is None or name in only]
    args = {}
    for name in wanted:
        names = manifest['hashes'][name]
        if names:
            kinds = {key: ocp.RestoreArgs(restore_type=np.ndarray) for key in names}
            args[name] = ocp.args.PyTreeRestore(restore_args=kinds)
    try:
        with quiet():
            found = manager.restore(step, args=ocp.args.Composite(**args)) if args else {}
    except MemoryError:
        raise
    except Exception as error:
        text = ' '.join(str(error).split())
        raise DamagedError(f'{type(error).__name__}: {text[:200]}') from error
    items = {name: rebuild(manifest, name, found[name] if name in args else {}) for name in wanted}
    return items, metrics_of(manifest), identity_of(manifest)


def set_aside(folder: pathlib.Path, step: int) -> None:
    """Renames a damaged checkpoint to `damaged-STEP`, so that a run can write that step again."""
    target, count = folder / f'damaged-{step}', 1
    while target.exists():
        count += 1
        target = folder / f'damaged-{step}-{count}'
    try:
        os.replace(folder / str(step), target)
    except OSError as error:
        _log.warning('cannot set aside the checkpoint of step %d: %s', step, error)
