"""The program of a bundle that writes texts: a beginning in, new tokens out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ftjax.evaluation.generation.decoding import Decoding
from ftjax.evaluation.generation.sampling_arrays import SamplingArrays
from ftjax.evaluation.predict import embedding
from ftjax.leaves import unflatten
from ftjax.models.stages import Network


@dataclasses.dataclass(frozen=True)
class ServedWriting:
    """`(weights, inputs) -> {'features', 'outputs', 'tokens'}`.

    Keys and values of the beginning and of all that can be written lie in arrays of one shape, so
    that there is one program a length of beginnings. `outputs` are the logits of the first token,
    which the goldens compare: tokens of another platform may differ where two are equally
    probable.
    """

    network: Network
    new_tokens: int
    ends: tuple[int, ...]
    pad_id: int

    @property
    def stage(self) -> str:
        """Whose embedding goes out: the last before the head."""
        return self.network.stages[-2]

    def __call__(
        self, weights: Mapping[str, jax.Array], inputs: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array]:
        variables: Any = unflatten(dict(weights))
        ids, mask = (_to_the_right(inputs[n], inputs) for n in ('input_ids', 'attention_mask'))
        sampling = SamplingArrays(*(inputs[name] for name in ('temperature', 'top_k', 'top_p')))
        keys = jax.vmap(_key)(inputs['seed'])
        decoding = Decoding(self.network, self.new_tokens, sampling, self.ends, self.pad_id)
        found = decoding.written(
            variables, ids, mask > 0, keys, limits=inputs['new_tokens'], stage=self.stage
        )
        return {
            'features': embedding(found.states, inputs),
            'outputs': found.logits.astype(jnp.float32),
            'tokens': found.tokens.astype(jnp.int32),
        }


def _key(seed: jax.Array) -> jax.Array:
    """That of the first text of `generated`, which has one for each."""
    return jax.random.split(jax.random.key(seed, impl='threefry2x32'), 1)[0]


def _to_the_right(tokens: jax.Array, inputs: Mapping[str, jax.Array]) -> jax.Array:
    """Tokens (batch, time) that are padded on the right, padded on the left."""
    length = tokens.shape[1]
    size = inputs['attention_mask'].sum(axis=1, keepdims=True)
    at = (jnp.arange(length) - (length - size)) % length
    return jnp.take_along_axis(tokens, at, axis=1)
