"""Arrays that are shared out over several processes, each of which writes its part."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from ftjax.distributed import process_group
from ftjax.io.tree_json import array_hash, joined_hash


def part_hashes(leaves: Sequence[jax.Array]) -> list[str]:
    """Hashes of arrays that are shared out, each part hashed by the process that writes it.

    All processes must call it, with the same arrays.
    """
    from jax.experimental import multihost_utils

    tables = []
    for leaf in leaves:
        sides = leaf.sharding.shard_shape(leaf.shape)
        cuts = [whole // side for whole, side in zip(leaf.shape, sides, strict=True)]
        table = np.zeros((*cuts, 32), np.uint8)
        for shard in leaf.addressable_shards:
            if shard.replica_id == 0:
                at = [(s.start or 0) // side for s, side in zip(shard.index, sides, strict=True)]
                digest = bytes.fromhex(array_hash(np.asarray(shard.data)))
                table[tuple(at)] = np.frombuffer(digest, np.uint8)
        tables.append(table)
    if not tables:
        return []
    rows = np.concatenate([table.reshape(-1, 32) for table in tables])
    rows = np.max(multihost_utils.process_allgather(rows), axis=0)
    ends = np.cumsum([table.size // 32 for table in tables])
    return [
        joined_hash('x'.join(map(str, table.shape[:-1])), [row.tobytes() for row in part])
        for table, part in zip(tables, np.split(rows, ends[:-1]), strict=True)
    ]


def seen_by_all(folder: pathlib.Path) -> bool:
    """Whether each of several processes finds the first one's folder at the same place."""
    if not process_group.several():
        return False
    number = process_group.from_first(lambda: folder.stat().st_ino)
    return not process_group.largest(not folder.exists() or folder.stat().st_ino != number)
