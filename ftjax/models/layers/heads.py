"""The classification head, and sizes given as one number or two."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from ftjax.models.stages import Mode


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a size given as one number or as two."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class Head(nn.Module):
    """The classifier: (batch, width) -> logits (batch, num_classes), float32.

    Zero-initialised kernels, as big_vision's, would give a new head no gradient to the trunk
    in its first step; a small normal keeps both moving.
    """

    num_classes: int

    @nn.compact
    def __call__(self, state, mode: Mode):
        dense = nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(0.01), name='dense')
        return dense(state['hidden'].astype(jnp.float32))
