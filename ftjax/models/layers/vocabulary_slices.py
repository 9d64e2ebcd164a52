"""Tables over a vocabulary that lies in parts on devices: taken slice by slice, never whole.

A vocabulary's table is often the largest leaf of a network by far. Whole on a device it takes its
size, in the layout of a product that size again, and its gradient as much. A slice has columns of
every device's part, so that each device sends and receives alike.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

LEAST = 8
"""Slices of a table, at least: whole on a device is never more than one of them."""


@dataclasses.dataclass(frozen=True, eq=False)
class Slices:
    """How a table (vocabulary, width), or a kernel (width, vocabulary), is cut."""

    axis: int
    """Of the vocabulary: 0 or 1."""
    groups: int
    """Parts of the vocabulary that lie on different devices; 1 where another axis is parted."""
    home: Callable[[Array], Array]
    """Puts an array with the vocabulary as two axes, (groups, some), where its parts lie."""
    whole: Callable[[Array], Array]
    """Puts an array on every device."""
    devices: int
    """Over which examples are shared out."""
    parted: bool = True
    """Whether the table lies in parts at all: else a slice is of its gradient alone."""

    def counts(self, table: Array, least: int = LEAST) -> tuple[int, int]:
        """(count of slices, entries of each group in one); `least` slices, if there are as many."""
        each = table.shape[self.axis] // self.groups
        size = -(-each // least)
        return -(-each // size), size

    def split(self, table: Array) -> Array:
        """The vocabulary as two axes: (.., groups, entries of a group, ..)."""
        axis, shape = self.axis, table.shape
        sides = (self.groups, shape[axis] // self.groups)
        return self.home(table.reshape(*shape[:axis], *sides, *shape[axis + 1 :]))

    def joined(self, parts: Array) -> Array:
        """The inverse of `split`."""
        axis, shape = self.axis, parts.shape
        return parts.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])

    def take(self, parts: Array, number: Array, size: int) -> tuple[Array, Array, Array]:
        """A slice on every device; ids of its entries; which of these no earlier slice had.

        The last slice begins earlier where slices of one size do not fill the vocabulary.
        """
        each = parts.shape[self.axis + 1]
        first = jnp.minimum(number * size, each - size)
        some = jax.lax.dynamic_slice_in_dim(parts, first, size, self.axis + 1)
        own = first + jnp.arange(size)
        ids = (jnp.arange(self.groups)[:, None] * each + own).reshape(-1)
        new = jnp.tile(own >= number * size, self.groups)
        return self.joined(self.whole(self.home(some))), ids, new

    def places(self, ids: Array, length: int, number: Array, size: int) -> tuple[Array, Array]:
        """Of each id its row in a slice, and whether it is there and in no earlier slice."""
        each = length // self.groups
        first = jnp.minimum(number * size, each - size)
        within = ids % each
        there = (within >= number * size) & (within < first + size)
        return ids // each * size + within - first, there & (ids >= 0) & (ids < length)

    def add(self, parts: Array, number: Array, some: Array) -> Array:
        """Adds to a slice, where its parts lie, what is summed over the devices."""
        size, axis = some.shape[self.axis] // self.groups, self.axis + 1
        first = jnp.minimum(number * size, parts.shape[axis] - size)
        old = jax.lax.dynamic_slice_in_dim(parts, first, size, axis)
        new = old + self.split(some).astype(parts.dtype)
        return self.home(jax.lax.dynamic_update_slice_in_dim(parts, new, first, axis))


Slicing = Callable[[str, tuple[int, ...], int], Slices | None]
"""`slicing(path, shape, axis of the vocabulary)`; None for a leaf that is taken whole."""
_slicing: contextvars.ContextVar[Slicing | None] = contextvars.ContextVar('slicing', default=None)


@contextlib.contextmanager
def vocabulary_slices(slicing: Slicing) -> Iterator[None]:
    """Within it, `nn.Embed` and the heads of language models take tables as `slicing` says."""
    before = _slicing.set(slicing)
    try:
        with nn.intercept_methods(_looked_up):
            yield
    finally:
        _slicing.reset(before)


def slices_of(module: nn.Module, path: tuple[str, ...], axis: int) -> tuple[Array, Slices] | None:
    """The leaf at a path of the network's params, and its slices; None where it is taken whole."""
    slicing = _slicing.get()
    if slicing is None or module.scope is None:
        return None
    leaf: Any = module.scope.root.variables().get('params', {})
    for key in path:
        if not isinstance(leaf, Mapping) or key not in leaf:
            return None
        leaf = leaf[key]
    slices = slicing('/'.join(path), leaf.shape, axis)
    return None if slices is None else (leaf, slices)


def rows_in_slices(
    table: Float[Array, 'vocabulary width'], ids: Int[Array, '*batch'], slices: Slices
) -> Float[Array, '*batch width']:
    """`jnp.take(table, ids, axis=0)`, of ids in the table; others give NaN."""
    length = len(table)

    @jax.custom_vjp
    def run(table: Array, ids: Array) -> Array:
        count, size = slices.counts(table)
        parts = slices.split(table)

        def one(found: Array, number: Array) -> tuple[Array, None]:
            some, _, _ = slices.take(parts, number, size)
            places, there = slices.places(ids, length, number, size)
            rows = jnp.take(some, jnp.where(there, places, 0), axis=0)
            return jnp.where(there[..., None], rows, found), None

        nothing = jnp.full((*ids.shape, table.shape[1]), jnp.nan, table.dtype)
        return jax.lax.scan(one, nothing, jnp.arange(count))[0]

    def forward(table: Array, ids: Array) -> tuple[Array, tuple[Array, Array]]:
        return run(table, ids), (table, ids)

    def backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, None]:
        table, ids = saved
        count, size = slices.counts(table)

        def one(found: Array, number: Array) -> tuple[Array, None]:
            places, there = slices.places(ids, length, number, size)
            none = jnp.zeros((slices.groups * size, table.shape[1]), cotangent.dtype)
            beyond = jnp.where(there, places, len(none))
            return slices.add(found, number, none.at[beyond].add(cotangent, mode='drop')), None

        found, _ = jax.lax.scan(one, slices.split(jnp.zeros_like(table)), jnp.arange(count))
        return slices.joined(found), None

    run.defvjp(forward, backward)
    return run(table, ids)


def _looked_up(
    run: Callable[..., Any], args: tuple, kwargs: dict, context: nn.module.InterceptorContext
) -> Any:
    module = context.module
    if type(module) is not nn.Embed or context.method_name != '__call__' or kwargs:
        return run(*args, **kwargs)
    found = slices_of(module, (*module.path, 'embedding'), axis=0)
    if found is None or not found[1].parted:
        return run(*args)
    table, slices = found
    return rows_in_slices(table, args[0], slices).astype(module.dtype or table.dtype)
