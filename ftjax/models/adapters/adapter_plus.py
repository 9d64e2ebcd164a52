"""Adapter+: a bottleneck after each block's skip, with a learned scale a channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from ftjax.models.adapters.adapter import Adapter, Site
from ftjax.models.stages import Mode
from ftjax.registry import register


@register('adapter', 'adapter_plus')
@dataclasses.dataclass(frozen=True)
class AdapterPlus(Adapter):
    """h + drop_path(s * (U gelu(D h + d) + u)), after a block (Steitz and Roth, arXiv:2406.06820).

    D (width, rank) and U (rank, width) are normal with standard deviation .01, cut at two of
    them; d and u are 0, s (width,) is 1: close to the block's own output at first, and not equal
    to it. Stochastic depth of .1 where the block has noise.
    """

    kind = 'adapter_plus'
    prefixes = ('plus_',)
    rank: int = 8
    drop_path: float = 0.1

    def call(self, site: Site, run: Callable, args: tuple, kwargs: dict) -> Any:
        """Adds the perceptron's output to a block's."""
        out = run(*args, **kwargs)
        if not site.is_block:
            return out
        h = out['hidden']
        draw = truncated_normal
        zeros, ones, width = nn.initializers.zeros, nn.initializers.ones, h.shape[-1]
        down = site.add('plus_down', draw, (width, self.rank))
        down_bias = site.add('plus_down_bias', zeros, (self.rank,))
        up = site.add('plus_up', draw, (self.rank, width))
        up_bias = site.add('plus_up_bias', zeros, (width,))
        scale = site.add('plus_scale', ones, (width,))
        cast = [x.astype(h.dtype) for x in (down, down_bias, up, up_bias, scale)]
        small = jax.nn.gelu(h @ cast[0] + cast[1], approximate=False)
        branch = cast[4] * (small @ cast[2] + cast[3])
        mode = next((x for x in (*args, *kwargs.values()) if isinstance(x, Mode)), Mode())
        if not mode.deterministic and self.drop_path:
            branch = kept_at_random(site.random('dropout'), branch, self.drop_path)
        return {**out, 'hidden': h + branch}


def truncated_normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Normal with standard deviation .01, drawn within two of them."""
    return 0.01 * jax.random.truncated_normal(key, -2.0, 2.0, shape)


def kept_at_random(key: jax.Array, branch: jax.Array, rate: float) -> jax.Array:
    """A branch (batch, ..) left out of whole examples with chance `rate`, the rest scaled up."""
    keep = jax.random.bernoulli(key, 1 - rate, (len(branch), *[1] * (branch.ndim - 1)))
    return branch * keep.astype(branch.dtype) / (1 - rate)
