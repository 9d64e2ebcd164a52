"""The order of an epoch in which batches hold texts of like length."""

from __future__ import annotations

import numpy as np


def bucket_order(
    order: np.ndarray, buckets: np.ndarray, batch_size: int, run: int, rng: np.random.Generator
) -> np.ndarray:
    """Sorts an epoch's permutation into batches of one bucket each, in random order.

    Within a bucket the permutation's order stays, so batches differ from epoch to epoch. What
    does not fill a run of batches is filled up from the next longer bucket: no example is
    lost, and few are padded further than need be.

    Args:
      order: (batches * batch_size,) positions of examples.
      buckets: (examples,) bucket of each example of the split.
      batch_size: examples a batch.
      run: how many batches in a row share a bucket, counted from the epoch's start, so that
        they can go to the device in one call. What is left over comes last.
      rng: decides the order of the runs.

    Returns:
      `order`, rearranged.

    >>> buckets = np.array([16, 32, 16, 32, 16, 16])
    >>> got = bucket_order(np.arange(6), buckets, 2, 1, np.random.default_rng(0))
    >>> buckets[got].reshape(3, 2).tolist()
    [[32, 32], [16, 16], [16, 16]]
    """
    block = batch_size * run
    blocks: list[np.ndarray] = []
    left = order[:0]
    for bucket in np.unique(buckets[order]):
        members = np.concatenate([left, order[buckets[order] == bucket]])
        whole = len(members) // block * block
        blocks.extend(members[:whole].reshape(-1, block))
        left = members[whole:]
    shuffled = [blocks[i] for i in rng.permutation(len(blocks))]
    return np.concatenate([*shuffled, left])
