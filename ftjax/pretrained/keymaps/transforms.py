"""Invertible changes of layout between a checkpoint's tensors and Flax's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Transform:
    """A change of layout and its inverse, both array -> array, both exact.

    They may move axes and reshape, never compute: a checkpoint must come back bit for bit.
    `forward` is also run on an array without memory to learn the shape it gives.
    """

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]

    def shape(self, source: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that `forward` gives to a tensor of shape `source`, without computing."""
        return self.forward(np.broadcast_to(np.zeros((), bool), source)).shape


def reshape(name: str, source: tuple[int, ...], target: tuple[int, ...]) -> Transform:
    """A reshape between two shapes known beforehand, as (width, heads, depth) to two axes.

    >>> reshape('heads', (8, 2, 4), (8, 8)).shape((8, 2, 4))
    (8, 8)
    """
    return Transform(name, lambda x: x.reshape(target), lambda x: x.reshape(source))


def permute(name: str, *axes: int) -> Transform:
    """A permutation of axes: axis i of the result is axis `axes[i]` of the source."""
    back = tuple(int(i) for i in np.argsort(axes))
    return Transform(name, lambda x: x.transpose(axes), lambda x: x.transpose(back))


TRANSFORMS: dict[str, Transform] = {
    row.name: row
    for row in (
        permute('dense', 1, 0),  # (out, in) -> (in, out)
        permute('conv', 2, 3, 1, 0),  # OIHW -> HWIO, depthwise too: (C, 1, h, w) -> (h, w, 1, C)
        permute('conv1d', 2, 1, 0),  # (out, in, time) -> (time, in, out)
        # A 1x1 convolution as a dense layer: (out, in, 1, 1) -> (in, out).
        Transform('pointwise', lambda x: x[..., 0, 0].T, lambda x: x.T[..., None, None]),
        Transform('copy', lambda x: x, lambda x: x),
        Transform('add_axis', lambda x: x[None], lambda x: x[0]),  # (t, w) -> (1, t, w)
        Transform('add_two_axes', lambda x: x[None, None], lambda x: x[0, 0]),  # (w,) -> (1, 1, w)
        # One number a channel, as layer scales and norms keep it: (1, C, 1, 1) -> (C,).
        Transform('channels', lambda x: x[0, :, 0, 0], lambda x: x[None, :, None, None]),
        Transform('squeeze', lambda x: x.squeeze(0), lambda x: x[None]),  # (1, ..) -> (..)
    )
}
