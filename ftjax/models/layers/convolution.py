"""Convolutions whose gradient suits XLA's CPU compiler."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
from jax import lax
from jax.typing import DTypeLike

from ftjax.models.layers.written_once import stored

if TYPE_CHECKING:
    from jaxtyping import Array, Float

GROUP = 8
"""Examples a group, before jax 0.12."""


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
    feature map, and as deep as the batch, whose operands are transposed. XLA's CPU compiler takes
    the norm and activation below it into the transposition, and reads them there with strides: a
    third of a step of ResNet-26. Inputs and cotangent are therefore stored first: that step takes
    18 % (jax 0.12) and 10 % (jax 0.10) less, on two cores of an AVX-512 machine. Before jax 0.12
    groups of 8 images are faster than all at once; from 0.12 on they are slower. Other ways are
    measured in results/benchmarks/convolutions.md.

    On a CPU there is no forward-mode derivative (`jax.jvp`). Convolutions with groups of channels
    are left alone.
    """
    run = partial(lax.conv_general_dilated, **options)
    groups = options.get('feature_group_count', 1) * options.get('batch_group_count', 1)
    examples = inputs.shape[0]
    # A program that is exported for any number of examples has no gradient.
    plain = not isinstance(examples, int) or examples == 0 or groups > 1
    if plain or jax.default_backend() != 'cpu':
        return run(inputs, kernel, *sizes)

    group = GROUP if jax.__version_info__ < (0, 12) else examples

    @jax.custom_vjp
    def convolved(inputs, kernel):
        return run(inputs, kernel, *sizes)

    def backward(saved, cotangent):
        inputs, kernel = stored(saved[0]), saved[1]
        cotangent = stored(cotangent)
        (to_inputs,) = jax.vjp(lambda x: run(x, kernel, *sizes), inputs)[1](cotangent)
        to_kernel = sum(
            jax.vjp(lambda k, x=inputs[i : i + group]: run(x, k, *sizes), kernel)[1](
                cotangent[i : i + group]
            )[0]
            for i in range(0, examples, group)
        )
        return to_inputs, to_kernel

    convolved.defvjp(lambda inputs, kernel: (convolved(inputs, kernel), (inputs, kernel)), backward)
    return convolved(inputs, kernel)
