"""Convolutions whose kernel's gradient is summed over groups of examples on a CPU."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
from jax import lax
from jax.typing import DTypeLike

if TYPE_CHECKING:
    from jaxtyping import Array, Float

GROUP = 8
"""Examples a group."""


def conv3x3(features: int, stride: int, name: str, dtype: DTypeLike) -> nn.Conv:
    """A 3x3 convolution padded by one pixel on each side (SAME differs at stride 2)."""
    return nn.Conv(
        *(features, (3, 3)),
        strides=stride,
        padding=1,
        use_bias=False,
        dtype=dtype,
        name=name,
        conv_general_dilated=convolve,
    )


def convolve(
    inputs: Float[Array, 'batch height width channels'],
    kernel: Float[Array, 'down across in_channels features'],
    *sizes: object,
    **options: Any,
) -> Float[Array, 'batch rows columns features']:
    """`lax.conv_general_dilated`, for `nn.Conv(conv_general_dilated=convolve)`.

    The gradient of a kernel is a convolution of the inputs with a "kernel" as large as the
    feature map, and as deep as the batch. XLA's CPU library makes it fastest a few examples at
    a time: 64 feature maps of 32x32x16 take 3.6 ms at once and 2.1 ms in groups of 8; of 8x8x64,
    1.9 and 1.5 ms (two cores of an AVX-512 machine). Of maps that are larger (56x56x64) or have
    more channels (7x7x512) it is not, so the ResNets for larger images do without. On a CPU
    there is no forward-mode derivative (`jax.jvp`). Convolutions with groups of channels are
    left alone.
    """
    run = partial(lax.conv_general_dilated, **options)
    groups = options.get('feature_group_count', 1) * options.get('batch_group_count', 1)
    examples = inputs.shape[0]
    # A program that is exported for any number of examples has no gradient.
    if not isinstance(examples, int) or jax.default_backend() != 'cpu' or groups > 1:
        return run(inputs, kernel, *sizes)
    if examples <= GROUP:
        return run(inputs, kernel, *sizes)

    @jax.custom_vjp
    def convolved(inputs, kernel):
        return run(inputs, kernel, *sizes)

    def backward(saved, cotangent):
        inputs, kernel = saved
        (to_inputs,) = jax.vjp(lambda x: run(x, kernel, *sizes), inputs)[1](cotangent)
        to_kernel = sum(
            jax.vjp(lambda k, x=inputs[i : i + GROUP]: run(x, k, *sizes), kernel)[1](
                cotangent[i : i + GROUP]
            )[0]
            for i in range(0, examples, GROUP)
        )
        return to_inputs, to_kernel

    convolved.defvjp(lambda inputs, kernel: (convolved(inputs, kernel), (inputs, kernel)), backward)
    return convolved(inputs, kernel)
