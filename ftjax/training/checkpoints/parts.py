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
    found, grids, tables = [], [], []
    for item, leaves in arrays.items():
        for number, leaf in leaves.items():
            if not isinstance(leaf, jax.Array):
                continue
            sides = leaf.sharding.shard_shape(leaf.shape)
            grid = [whole // side for whole, side in zip(leaf.shape, sides, strict=True)]
            table = np.zeros((*grid, 32), np.uint8)
            for shard in leaf.addressable_shards:
                if shard.replica_id == 0:
                    at = [
                        (s.start or 0) // side for s, side in zip(shard.index, sides, strict=True)
                    ]
                    digest = bytes.fromhex(array_hash(np.asarray(shard.data)))
                    table[tuple(at)] = np.frombuffer(digest, np.uint8)
            found.append((item, number))
            grids.append('x'.join(map(str, grid)))
            tables.append(table.reshape(-1, 32))
    if not found:
        return {}
    from jax.experimental import multihost_utils

    rows = np.max(multihost_utils.process_allgather(np.concatenate(tables)), axis=0)
    rows = np.split(rows, np.cumsum([len(table) for table in tables])[:-1])
    hashes = [joined_hash(grid, map(bytes, part)) for grid, part in zip(grids, rows, strict=True)]
    return dict(zip(found, hashes, strict=True))


def seen_by_all(folder: pathlib.Path) -> bool:
    """Whether each of several processes finds the first one's folder at the same place."""
    if not process_group.several():
        return False
    number = process_group.from_first(lambda: folder.stat().st_ino)
    return not process_group.largest(not folder.exists() or folder.stat().st_ino != number)
