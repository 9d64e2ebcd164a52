"""Products with frozen weights that are held in half precision: widened where they are used.

A network in float32 casts a bfloat16 kernel before the product. A compiler casts all kernels of a
network at once if nothing stops it, and keeps each cast one from the forward to the backward pass,
which is a float32 copy of all frozen weights. Here a cast waits for what it is multiplied with,
and the backward pass makes its own. Numbers are those of the cast before the product.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ftjax.xla.barriers import widened_after


def late_products(
    variables: object, frozen: Collection[str] | None = None
) -> contextlib.AbstractContextManager:
    """Within it, networks that are applied to these variables widen weights where they use them.

    It changes no number, and nothing at all where no leaf has half precision.

    Args:
      variables: what the network is applied to, or a part of it that holds all such leaves.
      frozen: paths of the leaves that this is for, which get no gradient; None for all, where
        there are no gradients.
    """
    leaves = jax.tree.leaves(variables)
    half = any(x.dtype.itemsize == 2 and jnp.issubdtype(x.dtype, jnp.floating) for x in leaves)
    if not half:
        return contextlib.nullcontext()

    def late(
        run: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext
    ) -> object:
        module, scope = context.module, context.module.scope
        if context.method_name != '__call__' or scope is None or kwargs:
            return run(*args, **kwargs)
        if type(module) is nn.Dense and (kernel := narrow(module, 'kernel', frozen)) is not None:
            out = product(jnp.asarray(args[0], module.dtype), kernel)
            bias: object = scope.get_variable('params', 'bias') if module.use_bias else None
            return out if bias is None else out + jnp.asarray(bias, module.dtype)
        table = narrow(module, 'embedding', frozen) if type(module) is nn.Embed else None
        if table is not None and table.shape[0] > 1:
            # Its rows are cast, not the table.
            return jnp.take(table, args[0], axis=0).astype(module.dtype)
        return run(*args, **kwargs)

    return nn.intercept_methods(late)


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """X (.., inputs) times a frozen kernel (inputs, outputs) of fewer bits, in the dtype of x."""
    return jnp.matmul(x, widened_after(kernel, x, x.dtype))


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    return product(x, kernel), kernel


def _backward(kernel: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, None]:
    wide = widened_after(kernel, cotangent, cotangent.dtype)
    return jnp.matmul(cotangent, wide.T), None


product.defvjp(_forward, _backward)


def narrow(module: nn.Module, name: str, frozen: Collection[str] | None) -> jax.Array | None:
    """A weight of a module that has fewer bits than it computes with; else None."""
    scope, dtype = module.scope, getattr(module, 'dtype', None)
    if scope is None or dtype is None or not scope.has_variable('params', name):
        return None
    if frozen is not None and '/'.join((*module.path, name)) not in frozen:
        return None
    weight: Any = scope.get_variable('params', name)
    return weight if weight.dtype.itemsize < jnp.dtype(dtype).itemsize else None
