"""Keys and values of tokens that were seen, kept so that a text is written token by token.

They lie in linen's collection `cache`, in arrays whose shape does not change as a text grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import flax.linen as nn
import jax
import jax.numpy as jnp

from ftjax.models.layers.attention import attend

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int


def attend_cached(
    module: nn.Module,
    query: Float[Array, 'batch time heads depth'],
    key: Float[Array, 'batch time kv_heads depth'],
    value: Float[Array, 'batch time kv_heads depth'],
    *,
    valid: Bool[Array, 'batch length'],
    place: Int[Array, ' batch'],
    window: int | None = None,
    cap: float | None = None,
) -> Float[Array, 'batch time heads depth']:
    """Causal attention of the next tokens of a text, whose keys and values are kept for later ones.

    With a window a cache has as many slots as the window, and the oldest is written over.

    Args:
      module: that keeps them.
      query, key, value: of a whole beginning, or of one token.
      valid: False for padding; of the longest text that there can be.
      place: of the first of the tokens in the text, padding counted; the same in all rows.
      window, cap: as of `attend`.
    """
    batch, time, heads, depth = query.shape
    slots = min(valid.shape[1], window or valid.shape[1])
    shape = batch, slots, *key.shape[2:]
    kept = [
        module.variable('cache', name, jnp.zeros, shape, x.dtype)
        for name, x in (('seen_key', key), ('seen_value', value))
    ]
    if time > 1:  # a beginning: it sees itself alone, and its end is kept
        for variable, new in zip(kept, (key, value), strict=True):
            last = jnp.arange(max(0, time - slots), time)
            variable.value = variable.value.at[:, last % slots].set(new[:, last])
        own = valid[:, :time]
        return attend(query, key, value, valid=own, causal=True, window=window, cap=cap)
    at = place[0]
    for variable, new in zip(kept, (key, value), strict=True):
        variable.value = jax.lax.dynamic_update_slice_in_dim(
            variable.value, new, at % slots, axis=1
        )
    # Which token lies in each slot: the last one that came there.
    token = at - (at - jnp.arange(slots)) % slots
    seen = (token >= 0) & jnp.take(valid, jnp.maximum(token, 0), axis=1)
    # Heads that share keys stand where positions do, so that no key is copied for each.
    shared = heads // key.shape[2]
    grouped = query.reshape(batch, key.shape[2], shared, depth).swapaxes(1, 2)
    out = attend(grouped, kept[0].value, kept[1].value, valid=seen, cap=cap)
    return out.swapaxes(1, 2).reshape(batch, 1, heads, depth)


def from_place(x: Int[Array, 'batch length'], place: Int[Array, ' batch'], time: int) -> Array:
    """The columns of some tokens: `time` of them, from a place on."""
    return jax.lax.dynamic_slice_in_dim(x, place[0], time, axis=1)
