"""Ways to compute a 3x3 convolution of stride 1, padded by one pixel, on a CPU.

Each takes images (batch, height, width, channels) and a kernel (3, 3, channels, features) and
gives the same numbers; automatic differentiation makes its gradients, but for that of ftjax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

LAYOUT = ('NHWC', 'HWIO', 'NHWC')
GROUP = 8
# Winograd's F(2, 3), of one dimension: Lavin and Gray, arXiv:1509.09308, section 4.1.
TO_TILE = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
TO_KERNEL = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
TO_OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))


def direct(images: Any, kernel: Any) -> Any:
    """XLA's convolution, channels last."""
    return lax.conv_general_dilated(images, kernel, (1, 1), 'SAME', dimension_numbers=LAYOUT)


def channels_first(images: Any, kernel: Any) -> Any:
    """XLA's convolution of transposed images."""
    made = lax.conv_general_dilated(
        images.transpose(0, 3, 1, 2),
        kernel.transpose(3, 2, 0, 1),
        (1, 1),
        'SAME',
        dimension_numbers=('NCHW', 'OIHW', 'NCHW'),
    )
    return made.transpose(0, 2, 3, 1)


def padded_channels(images: Any, kernel: Any) -> Any:
    """XLA's convolution with channels and features filled up to multiples of 16."""
    channels, features = kernel.shape[2:]
    more, most = -channels % 16, -features % 16
    images = jnp.pad(images, ((0, 0), (0, 0), (0, 0), (0, more)))
    kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, more), (0, most)))
    return direct(images, kernel)[..., :features]


def ours(images: Any, kernel: Any) -> Any:
    """What ftjax does: XLA's, with a gradient whose operands are stored before it is computed."""
    from ftjax.models.layers.convolution import convolve

    return convolve(images, kernel, (1, 1), 'SAME', dimension_numbers=LAYOUT)


def im2col(images: Any, kernel: Any) -> Any:
    """One product: the nine neighbours of each pixel beside each other."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = jnp.concatenate(
        [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=-1
    )
    return columns @ kernel.reshape(-1, kernel.shape[-1])


def im2col_by_group(images: Any, kernel: Any) -> Any:
    """The same with one product for each group of 8 images, one group after another."""
    groups = images.reshape(-1, GROUP, *images.shape[1:])
    return lax.map(lambda group: im2col(group, kernel), groups).reshape(*images.shape[:3], -1)


def nine_products(images: Any, kernel: Any) -> Any:
    """The sum of nine products, one for each neighbour."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
    )


def two_pixels(images: Any, kernel: Any) -> Any:
    """Two pixels of a row at once: a window of 3x4 with stride 2 and twice the features.

    A third more FLOPs, a third fewer numbers to copy into patches; even widths.
    """
    channels, features = kernel.shape[2:]
    wide = jnp.stack(
        [jnp.pad(kernel, ((0, 0), (left, 1 - left), (0, 0), (0, 0))) for left in (0, 1)], axis=3
    )
    made = lax.conv_general_dilated(
        images,
        wide.reshape(3, 4, channels, 2 * features),
        (1, 2),
        ((1, 1), (1, 1)),
        dimension_numbers=LAYOUT,
    )
    return made.reshape(*images.shape[:3], features)


def winograd(images: Any, kernel: Any) -> Any:
    """Winograd's F(2x2, 3x3): 16 products for four pixels instead of 36; even sizes."""
    rows, columns = images.shape[1] // 2, images.shape[2] // 2
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    tiles = [
        [padded[:, i : i + 2 * rows : 2, j : j + 2 * columns : 2] for j in range(4)]
        for i in range(4)
    ]
    taps = [[kernel[i, j] for j in range(3)] for i in range(3)]
    images_there, kernel_there = both_sides(TO_TILE, tiles), both_sides(TO_KERNEL, taps)
    products = [
        [a @ b for a, b in zip(*lines, strict=True)]
        for lines in zip(images_there, kernel_there, strict=True)
    ]
    made = jnp.stack([jnp.stack(line, axis=3) for line in both_sides(TO_OUTPUT, products)], axis=2)
    return made.reshape(images.shape[0], 2 * rows, 2 * columns, kernel.shape[-1])


def both_sides(matrix: Any, blocks: list[list[Any]]) -> list[list[Any]]:
    """The product matrix @ blocks @ matrix.T of a square of arrays; zeros cost nothing."""
    lines = [combined(matrix, [line[j] for line in blocks]) for j in range(len(blocks[0]))]
    return [combined(matrix, [line[i] for line in lines]) for i in range(len(matrix))]


def combined(matrix: Any, arrays: list[Any]) -> list[Any]:
    """Each line of the matrix: a sum of the arrays with its weights."""
    return [sum(w * x for w, x in zip(line, arrays, strict=True) if w) for line in matrix]


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    'direct': direct,
    'channels first': channels_first,
    'channels filled to 16': padded_channels,
    'ftjax': ours,
    'im2col': im2col,
    'im2col by groups of 8': im2col_by_group,
    'nine products': nine_products,
    'two pixels at once': two_pixels,
    'Winograd F(2,3)': winograd,
}


def with_gradients(way: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A compiled function (images, kernel, cotangent) -> outputs and both gradients."""

    def computed(images: Any, kernel: Any, cotangent: Any) -> Any:
        outputs, backward = jax.vjp(way, images, kernel)
        return outputs, *backward(cotangent)

    return jax.jit(computed)
