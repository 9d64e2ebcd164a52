"""Image files read ahead of the loop by grain's threads, in an order fixed beforehand."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import numpy as np

from ftjax.data.streams.loader import Batch, Loader


def read_ahead(
    loader: Loader, position_of: Callable[[int], int], start: int, stop: int | None, size: int
) -> Iterator[Batch]:
    """Batches of `size` of the examples number start, start + 1, .. up to `stop`.

    Examples, not batches, are the unit read ahead: grain's default buffer of 500 holds
    images then, and here no more than two batches of them.

    Args:
      loader: reads and decodes.
      position_of: number in the order -> position in the data set; called from threads.
      start, stop: numbers; stop None to go on for ever.
      size: examples a batch; the last is padded.
    """
    import grain

    def load(number: int) -> tuple[int, np.ndarray]:
        position = position_of(int(number))
        return position, loader.example(position)

    threads = min(16, 2 * (os.cpu_count() or 1))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, 2 * size))
    numbers = grain.MapDataset.range(start, sys.maxsize if stop is None else stop)
    positions, images = [], []
    for position, image in numbers.map(load).to_iter_dataset(options):
        positions.append(position)
        images.append(image)
        if len(positions) == size:
            yield loader.assemble(np.array(positions), np.stack(images))
            positions, images = [], []
    if positions:
        yield loader.assemble(np.array(positions), np.stack(images), size)
