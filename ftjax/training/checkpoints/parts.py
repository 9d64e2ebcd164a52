"""Arrays that are shared out over several processes, each of which writes its part."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ftjax.distributed import process_group
from ftjax.io.json.tree_json import array_hash, joined_hash


def part_hashes(arrays: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Hashes by item and number of arrays that are shared out, each part hashed where it lies.

    All processes must call it, with the same arrays.
    """
    every = [(item, n, leaf) for item, leaves in arrays.items() for n, leaf in leaves.items()]
    shared = [found for found in every if isinstance(found[-1], jax.Array)]
    if not shared:
        return {}
    from jax.experimental import multihost_utils

    own = [own_hashes(leaf) for *_, leaf in shared]
    rows = multihost_utils.process_allgather(np.concatenate([x.reshape(-1, 32) for x in own]))
    parts = np.split(np.max(rows, axis=0), np.cumsum([x.size // 32 for x in own])[:-1])
    return {
        (item, number): joined_hash('x'.join(map(str, x.shape[:-1])), map(bytes, part))
        for (item, number, _), x, part in zip(shared, own, parts, strict=True)
    }


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


def seen_by_all(folder: pathlib.Path) -> bool:
    """Whether each of several processes finds the first one's folder at the same place."""
    if not process_group.several():
        return False
    number = process_group.from_first(lambda: folder.stat().st_ino)
    return not process_group.largest(not folder.exists() or folder.stat().st_ino != number)
