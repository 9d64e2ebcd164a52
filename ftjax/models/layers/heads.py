"""The classification head, and sizes given as one number or two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import flax.linen as nn
import jax.numpy as jnp

from ftjax.models.stages import Mode

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Float32


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a size given as one number or as two."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class Head(nn.Module):
    """The classifier: from the features to logits.

    Zero-initialised kernels, as big_vision's, would give a new head no gradient to the trunk
    in its first step; a small normal keeps both moving.
    """

    num_classes: int

    @nn.compact
    def __call__(
        self, state: Mapping[str, Float[Array, 'batch width']], mode: Mode
    ) -> Float32[Array, 'batch classes']:
        dense = nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(0.01), name='dense')
        return dense(state['hidden'].astype(jnp.float32))
