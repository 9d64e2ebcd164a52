"""Orthogonal fine-tuning: the inputs of dense layers are rotated, block by block."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ftjax.models.adapters.adapter import Adapter, Site, holders, without
from ftjax.models.adapters.lora import is_target
from ftjax.pytrees import Array, Flat
from ftjax.registry import register


@register('adapter', 'oft')
@dataclasses.dataclass(frozen=True)
class OFT(Adapter):
    """X -> x R before W, with R orthogonal in blocks of `block` inputs (arXiv:2306.07280).

    A layer's vectors (inputs / block, block (block - 1) / 2), at first 0, are the strict upper
    triangles of skew-symmetric matrices Q, row by row; R = (I - Q)(I + Q)^-1 (Cayley), the
    identity at first. Layers whose path holds `targets` and whose inputs `block` divides take part.
    Lengths of and angles between the columns of a block of W stay. PEFT writes the same, with
    `use_cayley_neumann=False`.
    """

    kind = 'oft'
    mergeable = True
    block: int = 32
    targets: str = 'query|value'

    def call(self, site: Site, run: Callable, args: tuple, kwargs: dict) -> Any:
        """Rotates what goes into a dense layer."""
        dense = isinstance(site.module, nn.Dense) and is_target(self.targets, site.path)
        inputs = args[0].shape[-1] if dense else 0
        if not dense or site.in_head or inputs % self.block:
            return run(*args, **kwargs)
        x, shape = args[0], (inputs // self.block, self.block * (self.block - 1) // 2)
        vectors = site.add('oft_q', nn.initializers.zeros, shape)
        parts = x.reshape(*x.shape[:-1], shape[0], self.block)
        turned = jnp.einsum('...nk,nkc->...nc', parts, rotations(vectors, self.block, x.dtype))
        return run(turned.reshape(x.shape), *args[1:], **kwargs)

    def merge(self, params: Flat) -> Flat:
        """Rotates each kernel in place of its inputs."""
        merged = without(params, 'oft_q')
        for at in holders(params, 'oft_q'):
            kernel, vectors = params[f'{at}kernel'], jnp.asarray(params[f'{at}oft_q'])
            parts = jnp.asarray(kernel, jnp.float32).reshape(len(vectors), self.block, -1)
            turned = jnp.einsum('nkc,nco->nko', rotations(vectors, self.block), parts)
            merged[f'{at}kernel'] = turned.reshape(kernel.shape).astype(kernel.dtype)
        return merged


def rotations(vectors: Array, block: int, dtype: Any = jnp.float32) -> jax.Array:
    """Strict upper triangles (n, block (block - 1) / 2) -> orthogonal (n, block, block)."""
    rows, columns = np.triu_indices(block, 1)
    upper = jnp.zeros((len(vectors), block, block)).at[:, rows, columns].set(vectors)
    skew, identity = upper - upper.swapaxes(-1, -2), jnp.eye(block)
    # I - Q = 2 I - (I + Q).
    return (2 * inverse(identity + skew) - identity).astype(dtype)


@jax.custom_vjp
def inverse(matrices: Array) -> jax.Array:
    """Inverses of matrices (n, size, size) whose symmetric part is positive definite.

    Gauss-Jordan without pivots, which such matrices do not need: a pivot, a Schur complement, has a
    positive definite symmetric part too. On a CPU a solver's own threads wait for each other on
    busy cores: 60 times as long as this for the small blocks of OFT, and 1.5 times on idle ones.
    """
    size = matrices.shape[-1]

    def eliminated(index: jax.Array, rows: jax.Array) -> jax.Array:
        row = rows[:, index, :] / rows[:, index, index][:, None]
        others = rows - rows[:, :, index][:, :, None] * row[:, None, :]
        return others.at[:, index, :].set(row)

    beside = jnp.broadcast_to(jnp.eye(size, dtype=matrices.dtype), matrices.shape)
    rows = jnp.concatenate([matrices, beside], axis=-1)
    return jax.lax.fori_loop(0, size, eliminated, rows)[..., size:]


def _forward(matrices: Array) -> tuple[jax.Array, jax.Array]:
    found = inverse(matrices)
    return found, found


def _backward(found: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    turned = found.swapaxes(-1, -2)
    return (-(turned @ cotangent @ turned),)


inverse.defvjp(_forward, _backward)
