"""Attention to content and to distances apart (He et al. 2021, arXiv:2006.03654)."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ftjax.models.layers.attention import attend, weight_dropout
from ftjax.models.stages import Mode


class DisentangledAttention(nn.Module):
    """Self-attention to content, and between content and distances: (batch, time, width)."""

    heads: int
    relative: bool
    kinds: tuple[str, ...]
    buckets: int
    largest: int
    share_keys: bool
    dropout: float
    weight_dropout: float
    """Of the attention weights."""
    dtype: DTypeLike

    @property
    def sees_distances(self) -> bool:
        """Whether vectors for distances are of use."""
        return self.relative and bool(self.kinds)

    @nn.compact
    def __call__(self, x, mode: Mode, mask, vectors):
        batch, time, width = x.shape
        depth = width // self.heads

        def projection(name):
            dense = nn.Dense(width, dtype=self.dtype, name=name)
            return lambda y: dense(y).reshape(*y.shape[:-1], self.heads, depth)

        of = {name: projection(name) for name in ('query', 'key', 'value')}
        query, key, value = (of[name](x) for name in ('query', 'key', 'value'))
        # As many scores as are added share the variance; `attend` divides by the root of depth.
        share = (1 + len(self.kinds)) ** -0.5
        bias = None
        if vectors is not None:
            vectors = nn.Dropout(self.dropout)(vectors, deterministic=mode.deterministic)
            rows = distance_rows(time, self.buckets, self.largest)
            bias = jnp.zeros((), x.dtype)
            if 'c2p' in self.kinds:
                name = 'key' if self.share_keys else 'position_key'
                there = (of.get(name) or projection(name))(vectors)
                found = jnp.einsum('bqhd,shd->bhqs', query, there)
                bias = bias + jnp.take_along_axis(found, rows[None, None], axis=-1)
            if 'p2c' in self.kinds:
                name = 'query' if self.share_keys else 'position_query'
                there = (of.get(name) or projection(name))(vectors)
                found = jnp.einsum('bkhd,shd->bhks', key, there)
                # Seen from the key, where the query stands on the other side.
                found = jnp.take_along_axis(found, rows.T[None, None], axis=-1)
                bias = bias + found.swapaxes(-1, -2)
            bias = bias.astype(jnp.float32) * (share * depth**-0.5)
        drop = weight_dropout(self.weight_dropout, mode)
        out = attend(query * share, key, value, valid=mask, bias=bias, drop=drop)
        out = nn.Dense(width, dtype=self.dtype, name='out')(out.reshape(batch, time, width))
        return nn.Dropout(self.dropout)(out, deterministic=mode.deterministic)


def distance_rows(time: int, buckets: int, largest: int) -> np.ndarray:
    """(query, key) int: the row of the vectors for each pair; the middle one is distance 0.

    With `buckets`, distances beyond half of them are counted in steps that grow.
    """
    distance = np.arange(time)[:, None] - np.arange(time)[None]
    reach = buckets or largest
    if buckets:
        middle = buckets // 2
        far = np.maximum(np.abs(distance), middle).astype(np.float32)
        # In float32, as the networks were trained: a step's edge may fall on a whole distance.
        scale = np.log(np.float32((largest - 1) / middle))
        steps = np.ceil(np.log(far / np.float32(middle)) / scale * np.float32(middle - 1)) + middle
        near = np.abs(distance) <= middle
        distance = np.where(near, distance, steps * np.sign(distance)).astype(int)
    return np.clip(distance + reach, 0, 2 * reach - 1)
