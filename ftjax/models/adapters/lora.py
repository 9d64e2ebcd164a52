"""Low-rank updates of dense layers: LoRA, rank-stabilised LoRA and DoRA."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ftjax.models.adapters.adapter import Adapter, Site, holders, without
from ftjax.pytrees import Array, Flat
from ftjax.registry import register

ALL = 'all'
"""Every dense layer."""


@register('adapter', 'lora')
@dataclasses.dataclass(frozen=True)
class LoRA(Adapter):
    """W + (alpha / rank) A B on the dense layers whose path holds `targets` (arXiv:2106.09685).

    `targets` is a regular expression, or 'all' for every dense layer but the head's.
    A (inputs, rank) is drawn uniformly as PEFT draws it, B (rank, outputs) is 0. `stabilised`
    scales by alpha / sqrt(rank) (rsLoRA, arXiv:2312.03732). `magnitude` adds a vector m
    (outputs,), at first the norm of each column of W, and uses
    m (W + s A B) / |W + s A B| with the norm held constant in the gradient (DoRA,
    arXiv:2402.09353).
    """

    kind = 'lora'
    prefixes = ('lora_', 'dora_')
    mergeable = True
    rank: int = 8
    alpha: float = 16.0
    targets: str = 'query|value'
    stabilised: bool = False
    magnitude: bool = False

    @property
    def scale(self) -> float:
        """What multiplies A B."""
        return self.alpha / (self.rank**0.5 if self.stabilised else self.rank)

    def call(self, site: Site, run: Callable, args: tuple, kwargs: dict) -> object:
        """Adds the low-rank product to a dense layer's output."""
        out = run(*args, **kwargs)
        dense = isinstance(site.module, nn.Dense) and is_target(self.targets, site.path)
        if not dense or site.in_head:
            return out
        x = args[0].astype(out.dtype)
        a = site.add('lora_a', first_factor, (x.shape[-1], self.rank))
        b = site.add('lora_b', nn.initializers.zeros, (self.rank, out.shape[-1]))
        low = (x @ a.astype(out.dtype)) @ b.astype(out.dtype) * self.scale
        if not self.magnitude:
            return out + low
        kernel = site.own('kernel').reshape(x.shape[-1], -1)
        m = site.add('dora_magnitude', lambda *_: column_norm(kernel), (out.shape[-1],))
        ratio = m / jax.lax.stop_gradient(column_norm(kernel + self.scale * (a @ b)))
        linear = out - site.own('bias').reshape(-1).astype(out.dtype) if site.has('bias') else out
        # As a sum with (ratio - 1), which is exactly 0 at first: then the output is the base's.
        return out + low + (ratio - 1).astype(out.dtype) * (linear + low)

    def settle(self, params: Mapping[str, Any]) -> Flat:
        """DoRA's magnitudes, from the weights that were loaded."""
        return {
            f'{at}dora_magnitude': column_norm(as_matrix(params[f'{at}kernel'], params, at))
            for at in holders(params, 'dora_magnitude')
        }

    def merge(self, params: Flat) -> Flat:
        """Adds each product to its kernel."""
        merged = without(params, 'lora_a', 'lora_b', 'dora_magnitude')
        for at in holders(params, 'lora_a'):
            kernel = as_matrix(params[f'{at}kernel'], params, at) + self.scale * (
                params[f'{at}lora_a'] @ params[f'{at}lora_b']
            )
            if self.magnitude:
                kernel = kernel * (params[f'{at}dora_magnitude'] / column_norm(kernel))
            own = params[f'{at}kernel']
            merged[f'{at}kernel'] = kernel.astype(own.dtype).reshape(own.shape)
        return merged


def is_target(targets: str, path: str) -> bool:
    """Whether an adapter acts on the layer of a path: `targets` is a pattern, or 'all'."""
    return targets == ALL or bool(re.search(targets, path))


def first_factor(key, shape):
    """Uniform within 1 / sqrt(inputs): Kaiming's rule with a = sqrt(5)."""
    bound = shape[0] ** -0.5
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def as_matrix(kernel: Array, params: Mapping[str, Array], at: str) -> Array:
    """A kernel over several inputs or outputs as (inputs, outputs), as LoRA's factors have them."""
    return kernel.reshape(len(params[f'{at}lora_a']), -1)


def column_norm(kernel: Any) -> jax.Array:
    """Euclidean norm of the weights of each output: (inputs, outputs) -> (outputs,)."""
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=0))
