"""What Orbax writes in the background: arrays, and a manifest with the hash of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.future import CommitFutureAwaitingContractedSignals

from ftjax.distributed import process_group
from ftjax.io.files.saved_step import MANIFEST, alone, orbax
from ftjax.io.json.tree_json import array_hash, joined_hash

Arrays = Mapping[str, Mapping[str, Any]]
"""By item and number; on the host, but those that are shared out over processes."""


class ManifestHandler(ocp.JsonCheckpointHandler):
    """Writes what a function returns, called in the background: hashes take a while."""

    async def async_save(self, directory: Any, item: Any = None, args: Any = None) -> list[Any]:
        """Orbax's futures of the file."""

        async def write() -> None:
            if process_group.first():
                (directory / MANIFEST.name).write_text(json.dumps(args.item()))

        return [CommitFutureAwaitingContractedSignals(write())]


def background_saver(together: bool) -> ocp.AsyncCheckpointer:
    """Saves in all processes of the run, each what it holds of arrays; else in this one alone."""
    orbax()  # it quiets Orbax's threads
    options = {} if together else alone()
    kinds = ocp.type_handlers
    types = kinds.create_type_handler_registry(
        # They are copies already, see `pack`.
        (np.ndarray, kinds.NumpyHandler(deepcopy_host_arrays=False)),
        (jax.Array, kinds.ArrayHandler()),
    )
    handlers = ocp.DefaultCheckpointHandlerRegistry()
    # By kind of argument: what the items are called is known only when they are saved.
    # Weights hardly shrink, and the compressor would take processors from the step.
    arrays = ocp.PyTreeCheckpointHandler(
        type_handler_registry=types, use_compression=False, **options
    )
    handlers.add(None, ocp.args.PyTreeSave, arrays)
    handlers.add(None, ocp.args.JsonSave, ManifestHandler())
    items = ocp.CompositeCheckpointHandler(
        handler_registry=handlers, composite_options=ocp.CompositeOptions(**options)
    )
    return ocp.AsyncCheckpointer(items, **options)


def hashed(arrays: Arrays, manifest: Callable[[Any], object]) -> ocp.args.Composite:
    """What Orbax saves: arrays, and what `manifest` makes of their hashes in the background."""
    shared = part_hashes(arrays)

    def make() -> object:
        return manifest(
            {
                item: {n: shared.get((item, n)) or array_hash(leaf) for n, leaf in leaves.items()}
                for item, leaves in arrays.items()
            }
        )

    later: Any = make  # a function, see ManifestHandler
    items = {item: ocp.args.PyTreeSave(leaves) for item, leaves in arrays.items() if leaves}
    return ocp.args.Composite(**items, **{MANIFEST.parts[0]: ocp.args.JsonSave(later)})


def part_hashes(arrays: Arrays) -> dict[tuple[str, str], str]:
    """Hashes by item and number of arrays that are shared out, each part hashed where it lies.

    All processes must call it, with the same arrays.
    """
    shared = {
        (item, number): own_hashes(leaf)
        for item, leaves in arrays.items()
        for number, leaf in leaves.items()
        if isinstance(leaf, jax.Array)
    }
    if not shared:
        return {}
    # One exchange for all arrays: each shape would be a program of its own.
    rows = [table.reshape(-1, 32) for table in shared.values()]
    every = np.max(multihost_utils.process_allgather(np.concatenate(rows)), axis=0)
    found = np.split(every, np.cumsum([len(own) for own in rows])[:-1])
    grids = ['x'.join(map(str, table.shape[:-1])) for table in shared.values()]
    return dict(zip(shared, map(joined_hash, grids, found), strict=True))


def own_hashes(leaf: jax.Array) -> np.ndarray:
    """SHA-256 of each part that lies here: uint8 (*grid, 32), 0 where it lies elsewhere."""
    sides = leaf.sharding.shard_shape(leaf.shape)
    table = np.zeros((*np.floor_divide(leaf.shape, sides), 32), np.uint8)
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            at = [(s.start or 0) // side for s, side in zip(shard.index, sides, strict=True)]
            digest = bytes.fromhex(array_hash(np.asarray(shard.data)))
            table[tuple(at)] = np.frombuffer(digest, np.uint8)
    return table
