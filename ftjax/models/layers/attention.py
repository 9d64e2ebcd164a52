"""Multi-head attention in the form each backend runs fastest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ftjax.models.layers.rotary import turn
from ftjax.models.layers.weighted_values import weighted_values
from ftjax.models.stages import Mode

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int

Drop = Callable[[jax.Array], jax.Array]
"""Dropout of attention weights."""


def attend(
    query: Float[Array, 'batch time heads depth'],
    key: Float[Array, 'batch keys kv_heads depth'],
    value: Float[Array, 'batch keys kv_heads depth'],
    *,
    valid: Bool[Array, 'batch keys'] | Int[Array, 'batch keys'] | None = None,
    causal: bool = False,
    window: int | None = None,
    bias: Float[Array, '#batch #heads #time #keys'] | None = None,
    cap: float | None = None,
    drop: Drop | None = None,
) -> Float[Array, 'batch time heads depth']:
    """Scaled dot-product attention.

    On a CPU the product runs as batched matrix products over (batch x heads, time, depth),
    which is about twice as fast there as `jax.nn.dot_product_attention`; on a GPU in half
    precision it is cuDNN's fused kernel, where that can be: without `cap` and `drop`, and without
    `bias`, whose gradient the kernel leaves out in some shapes without an error.

    Args:
      query, key, value: kv_heads divides heads (grouped-query attention).
      valid: False for padding; at least one True a row. Of integers, which text of a row each
        position belongs to: it sees those of the same.
      causal: each position sees itself and what is before it.
      window: with `causal`, how many positions are seen, the own one included; without, how
        far each sees on either side, as in transformers. None for all.
      bias: added to the scores.
      cap: scores become cap * tanh(scores / cap) before the bias and the masks; None for not.
      drop: dropout of the weights, as `weight_dropout` gives it; None for none.

    Returns:
      The heads' answers, in the dtype of `value`.
    """
    batch, time, heads, depth = query.shape
    keys, kv_heads = key.shape[1], key.shape[2]
    # The kernel has windows with a causal mask alone.
    plain = bias is None and cap is None and drop is None and (causal or window is None)
    if plain and is_fused(query, key):
        return fused(query, key, value, valid, causal, window)
    if kv_heads != heads:
        key = jnp.repeat(key, heads // kv_heads, axis=2)
        value = jnp.repeat(value, heads // kv_heads, axis=2)

    def merged(array):  # (batch, t, heads, depth) -> (batch * heads, t, depth)
        return array.transpose(0, 2, 1, 3).reshape(batch * heads, array.shape[1], depth)

    scores = jnp.einsum('ntd,nkd->ntk', merged(query) * depth**-0.5, merged(key))
    scores = capped(scores.astype(jnp.float32), cap)
    hidden = jnp.finfo(jnp.float32).min
    if bias is not None or valid is not None:
        scores = scores.reshape(batch, heads, time, keys)
        if bias is not None:
            scores = scores + bias
        if valid is not None:
            scores = jnp.where(seen_keys(valid), scores, hidden)
        scores = scores.reshape(batch * heads, time, keys)
    if causal:
        seen = jnp.tril(jnp.ones((time, keys), bool), keys - time)
        if window is not None:
            seen &= jnp.triu(jnp.ones((time, keys), bool), keys - time - window + 1)
        scores = jnp.where(seen, scores, hidden)
    elif window is not None:
        scores = jnp.where(_both_sides(time, keys, window), scores, hidden)
    if drop is None and jax.default_backend() == 'cpu':
        out = weighted_values(scores, merged(value))
    else:
        weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
        weights = weights if drop is None else drop(weights)
        out = jnp.einsum('ntk,nkd->ntd', weights, merged(value))
    return out.reshape(batch, heads, time, depth).transpose(0, 2, 1, 3)


def seen_keys(
    valid: Bool[Array, 'batch keys'] | Int[Array, 'batch keys'],
) -> Bool[Array, 'batch 1 #keys keys']:
    """Which keys each query sees: all that are no padding, or those of its own text."""
    if valid.dtype == bool:
        return valid[:, None, None, :]
    return (valid[:, :, None] == valid[:, None, :])[:, None]


def weight_dropout(rate: float, mode: Mode) -> Drop | None:
    """Dropout of attention weights for `attend`; None where nothing is dropped.

    For a compact method: the layer that it makes is a child of the module that calls.
    """
    if not rate or mode.deterministic:
        return None
    # A name, so that the numbers of other layers of dropout, and their draws, stay.
    return partial(nn.Dropout(rate, name='dropped_weights'), deterministic=False)


def capped(x: Float[Array, '*axes'], cap: float | None) -> Float[Array, '*axes']:
    """`cap * tanh(x / cap)`, which is x where x is small; x itself for None."""
    return x if cap is None else cap * jnp.tanh(x / cap)


def is_fused(
    query: Float[Array, 'batch time heads depth'], key: Float[Array, 'batch keys kv_heads depth']
) -> bool:
    """Whether cuDNN's kernel takes arrays of these shapes and dtypes, on the present backend.

    Its heads have up to 128 channels, a multiple of 8. Its causal mask is aligned at the first
    query and key, ours at the last, so lengths have to agree.
    """
    depth = query.shape[-1]
    return (
        jax.default_backend() == 'gpu'
        and query.dtype in (jnp.bfloat16, jnp.float16)
        and depth % 8 == 0
        and depth <= 128
        and query.shape[1] == key.shape[1]
    )


def fused(
    query: Float[Array, 'batch time heads depth'],
    key: Float[Array, 'batch time kv_heads depth'],
    value: Float[Array, 'batch time kv_heads depth'],
    valid: Bool[Array, 'batch time'] | Int[Array, 'batch time'] | None,
    causal: bool,
    window: int | None,
    implementation: Literal['cudnn', 'xla'] = 'cudnn',
) -> Float[Array, 'batch time heads depth']:
    """`attend` by `jax.nn.dot_product_attention`; arguments as there."""
    time = query.shape[1]
    mask = lengths = None
    # JAX refuses gradients of odd lengths: one more place, which no other sees.
    even = time + time % 2
    query, key, value = (longer(x, even) for x in (query, key, value))
    if valid is not None:
        mask = seen_keys(longer(valid, even))
        mask = jnp.broadcast_to(mask, (len(valid), 1, even, even))  # the kernel wants it whole
    elif even > time and not causal:
        lengths = jnp.full(len(query), time, jnp.int32)
    out = jax.nn.dot_product_attention(
        query,
        key,
        value,
        mask=mask,
        key_value_seq_lengths=lengths,
        is_causal=causal,
        local_window_size=None if window is None else (window - 1, 0),
        implementation=implementation,
    )
    return out[:, :time]


def longer(x: Array, length: int) -> Array:
    """An array with zeros, or False, after its second axis, up to a length."""
    return jnp.pad(x, [(0, 0), (0, length - x.shape[1]), *[(0, 0)] * (x.ndim - 2)])


def _both_sides(time: int, keys: int, window: int) -> Bool[Array, 'time keys']:
    """True up to `window` positions before and after each position."""
    ones = jnp.ones((time, keys), bool)
    return jnp.triu(ones, keys - time - window) & jnp.tril(ones, keys - time + window)


class SelfAttention(nn.Module):
    """Self-attention with separate query, key, value and output projections."""

    heads: int
    qkv_bias: bool | tuple[bool, bool, bool] = True
    """Of all three projections, or of query, key and value."""
    out_bias: bool = True
    causal: bool = False
    dropout: float = 0.0
    """Of what the layer answers."""
    weight_dropout: float = 0.0
    """Of the attention weights."""
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'batch time width'],
        mode: Mode,
        valid: Bool[Array, 'batch time'] | Int[Array, 'batch time'] | None = None,
        bias: Float[Array, '#batch #heads time time'] | None = None,
        angle: jax.Array | np.ndarray | None = None,
        attended: Callable[..., Array] | None = None,
    ) -> Float[Array, 'batch time width']:
        """`angle` turns queries and keys: rotary positions; `attended` stands for `attend`.

        It is called with the module, queries, keys, values and `valid`.
        """
        batch, time, width = x.shape
        biases = self.qkv_bias if isinstance(self.qkv_bias, tuple) else (self.qkv_bias,) * 3

        def project(name, use_bias):
            dense = nn.Dense(width, use_bias=use_bias, dtype=self.dtype, name=name)
            return dense(x).reshape(batch, time, self.heads, width // self.heads)

        parts = zip(('query', 'key', 'value'), biases, strict=True)
        query, key, value = (project(name, use_bias) for name, use_bias in parts)
        if angle is not None:
            query, key = (turn(y, jnp.cos(angle), jnp.sin(angle)) for y in (query, key))
        drop = weight_dropout(self.weight_dropout, mode)
        if attended is not None:
            out = attended(self, query, key, value, valid=valid)
        else:
            out = attend(query, key, value, valid=valid, causal=self.causal, bias=bias, drop=drop)
        out = nn.Dense(width, use_bias=self.out_bias, dtype=self.dtype, name='out')(
            out.reshape(batch, time, width)
        )
        return nn.Dropout(self.dropout)(out, deterministic=mode.deterministic)
