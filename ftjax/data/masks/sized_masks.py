"""The masks of a split at one size, resized when first asked for and kept while they fit."""

from __future__ import annotations

import numpy as np

from ftjax.data.masks.mask import nearest

_KEPT_BYTES = 256 * 2**20


class SizedMasks:
    """`sized[indices]` -> uint8 (B, height, width), resized to the nearest pixel."""

    def __init__(self, masks: np.ndarray, size: tuple[int, int], kept_bytes: int = _KEPT_BYTES):
        """`masks` (N,) as a data set has them; `kept_bytes` 0 keeps none."""
        self.masks, self.size = masks, size
        shape = (len(masks), *size)
        fits = np.prod(shape, dtype=np.int64) <= kept_bytes
        self._kept = np.empty(shape, np.uint8) if fits else None
        self._have = np.zeros(len(masks), bool)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.stack([self.at(int(index)) for index in indices])

    def at(self, index: int) -> np.ndarray:
        """That of one example, (height, width)."""
        if self._kept is not None and self._have[index]:
            return self._kept[index]
        found = nearest(self.masks[index].read(), self.size)
        if self._kept is not None:
            self._kept[index] = found
            self._have[index] = True  # after the pixels: another thread may be looking
        return found
