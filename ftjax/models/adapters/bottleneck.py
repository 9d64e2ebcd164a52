"""Bottleneck adapters: a small residual perceptron after each block."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax

from ftjax.models.adapters.adapter import Adapter, Site
from ftjax.registry import register


@register('adapter', 'adapter')
@dataclasses.dataclass(frozen=True)
class Bottleneck(Adapter):
    """h + up(gelu(down(h))) with `up` 0 at first (Houlsby et al. 2019, arXiv:1902.00751).

    The inner width is the block's over `reduction`. On a convolutional block it acts on the
    channels of each pixel.
    """

    kind = 'adapter'
    reduction: int = 8

    def call(self, site: Site, run: Callable, args: tuple, kwargs: dict) -> object:
        """Adds the perceptron's output to a block's."""
        out = run(*args, **kwargs)
        if not site.is_block:
            return out
        h = out['hidden']
        width = h.shape[-1]
        inner = max(1, width // self.reduction)
        zeros = nn.initializers.zeros
        down = site.add('adapter_down', nn.initializers.lecun_normal(), (width, inner))
        down_bias = site.add('adapter_down_bias', zeros, (inner,))
        up = site.add('adapter_up', zeros, (inner, width))
        up_bias = site.add('adapter_up_bias', zeros, (width,))
        cast = [x.astype(h.dtype) for x in (down, down_bias, up, up_bias)]
        small = jax.nn.gelu(h @ cast[0] + cast[1], approximate=False)
        return {**out, 'hidden': h + small @ cast[2] + cast[3]}
