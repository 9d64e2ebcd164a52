"""Orbax's manager of a folder of checkpoints, set up to write at once and alone."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax

from ftjax.distributed.process_group import several


def open_manager(
    folder: pathlib.Path, read_only: bool, staying: Callable[[list[int]], Collection[int]]
) -> Any:
    """An `orbax.checkpoint.CheckpointManager` of items whose names it learns when they are saved.

    Args:
      folder: of all checkpoints; it is there.
      read_only: nothing in the folder is changed.
      staying: which of some steps, in order, are kept after a save.
    """
    import orbax.checkpoint as ocp

    # By kind of argument: what the items are called is known only when they are saved.
    handlers = ocp.DefaultCheckpointHandlerRegistry()
    alone: dict[str, Any] = {}
    if several():  # this process writes whole arrays, without a word to the others
        me = jax.process_index()
        alone['multiprocessing_options'] = ocp.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix=f'process_{me}'
        )
    for save, restore, handler in (
        (ocp.args.PyTreeSave, ocp.args.PyTreeRestore, ocp.PyTreeCheckpointHandler(**alone)),
        (ocp.args.JsonSave, ocp.args.JsonRestore, ocp.JsonCheckpointHandler(**alone)),
    ):
        handlers.add(None, save, handler)
        handlers.add(None, restore, handler)
    options = ocp.CheckpointManagerOptions(
        # Asynchronous saves would race with donated buffers, and fail a step late.
        enable_async_checkpointing=False,
        preservation_policy=_Retention(staying),
        read_only=read_only,
        create=False,
        save_root_metadata=False,
        **alone,
    )
    return ocp.CheckpointManager(folder, options=options, handler_registry=handlers)


class _Retention:
    """Answers Orbax's question which checkpoints stay."""

    def __init__(self, staying: Callable[[list[int]], Collection[int]]):
        self._staying = staying

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        stay = self._staying(sorted(info.step for info in checkpoints))
        return [info.step in stay for info in checkpoints]
