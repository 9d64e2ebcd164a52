"""Logits of the windows of an image, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ftjax.models.layers.resize import resized_on_host

if TYPE_CHECKING:
    from jaxtyping import Float


class StitchedLogits:
    """Logits of each pixel of an image, averaged where windows overlap."""

    def __init__(self, size: tuple[int, int], window: tuple[int, int], classes: int):
        """`size` and `window` in pixels, (height, width)."""
        self.size, self.window = size, window
        self.total = np.zeros((*size, classes), np.float32)
        self.times = np.zeros((*size, 1), np.float32)

    def add(
        self, corner: tuple[int, int], outputs: Float[np.ndarray, 'rows columns classes']
    ) -> None:
        """A window whose upper left pixel is `corner`; its logits are brought to its size."""
        top, left = corner
        logits = resized_on_host(np.asarray(outputs, np.float32), self.window)
        rows, columns = (
            min(self.window[0], self.size[0] - top),
            min(self.window[1], self.size[1] - left),
        )
        where = slice(top, top + rows), slice(left, left + columns)
        self.total[where] += logits[:rows, :columns]
        self.times[where] += 1

    @property
    def logits(self) -> Float[np.ndarray, 'height width classes']:
        """Of all windows together."""
        return self.total / self.times
