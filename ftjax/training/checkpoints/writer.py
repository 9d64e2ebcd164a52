"""Orbax's checkpointer, set up to write a run's checkpoints in the background."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.future import CommitFutureAwaitingContractedSignals

from ftjax.distributed import process_group
from ftjax.io.files.saved_step import MANIFEST, alone


class ManifestHandler(ocp.JsonCheckpointHandler):
    """Writes what a function returns, called in the background: hashes take a while."""

    async def async_save(self, directory: Any, item: Any = None, args: Any = None) -> list[Any]:
        """Orbax's futures of the file."""
        del item
        return [CommitFutureAwaitingContractedSignals(_write(directory, args.item))]


async def _write(directory: pathlib.Path, make: Callable[[], Any]) -> None:
    if process_group.first():
        (directory / MANIFEST.name).write_text(json.dumps(make()))


def background_saver(together: bool) -> ocp.AsyncCheckpointer:
    """Saves items whose names it learns when they are saved.

    Args:
      together: whether all processes of the run open it, and each writes what it holds of arrays
        that are shared out; otherwise this process writes alone.
    """
    options = {} if together else alone()
    kinds = ocp.type_handlers
    types = kinds.create_type_handler_registry(
        # They are copies already, see `pack`.
        (np.ndarray, kinds.NumpyHandler(deepcopy_host_arrays=False)),
        (jax.Array, kinds.ArrayHandler()),
    )
    arrays = ocp.PyTreeCheckpointHandler(type_handler_registry=types, **options)
    handlers = ocp.DefaultCheckpointHandlerRegistry()
    # By kind of argument: what the items are called is known only when they are saved.
    handlers.add(None, ocp.args.PyTreeSave, arrays)
    handlers.add(None, ocp.args.JsonSave, ManifestHandler())
    items = ocp.CompositeCheckpointHandler(
        handler_registry=handlers, composite_options=ocp.CompositeOptions(**options)
    )
    return ocp.AsyncCheckpointer(items, **options)
