"""Arrays from the host to the devices of all processes, and whole arrays back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ftjax.distributed.process_group import several
from ftjax.pytrees import Array, Tree

AT_ONCE = 2**28
"""Bytes that are gathered on a device at once: leaves in parts may be more than it can hold."""


@dataclasses.dataclass(frozen=True)
class Own:
    """What of a batch a process holds."""

    rows: np.ndarray
    """Ascending."""
    size: int
    """Rows of the whole batch, those of other processes included."""


def put(tree: Tree, shardings: object, axis: int = 0, own: Own | None = None) -> Tree:
    """Puts a tree on devices, some of which may be other processes'.

    Args:
      tree: arrays, the same in all processes; with `own`, each process's part.
      shardings: one for all leaves, or a tree of them.
      axis, own: which rows along an axis of the whole arrays this process gives: those of its
        devices.
    """
    if not several():
        return jax.device_put(tree, shardings)
    if isinstance(shardings, NamedSharding):
        shardings = jax.tree.map(lambda _: shardings, tree)
    return jax.tree.map(lambda leaf, where: _put(leaf, where, axis, own), tree, shardings)


def _put(leaf: Array, where: NamedSharding, axis: int, own: Own | None) -> jax.Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        same = leaf.sharding.is_equivalent_to(where, leaf.ndim)
        return leaf if same else jax.jit(_itself, out_shardings=where)(leaf)
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        bits = _put(jax.random.key_data(leaf), where, axis, own)
        return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf))
    held = np.asarray(leaf)
    if own is None:
        return jax.make_array_from_callback(held.shape, where, lambda index: held[index])
    shape = (*held.shape[:axis], own.size, *held.shape[axis + 1 :])

    def read(index: Any) -> np.ndarray:
        first, last, _ = index[axis].indices(own.size)
        # The rows of one device follow each other, in the whole as in what this process holds.
        begin = int(np.searchsorted(own.rows, first))
        return held[(*index[:axis], slice(begin, begin + last - first), *index[axis + 1 :])]

    return jax.make_array_from_callback(shape, where, read)


def on_host(tree: Tree) -> Tree:
    """Whole arrays in host memory, in every process, whichever devices hold their parts.

    All processes must call it, with the same tree.
    """
    if not several():
        return jax.device_get(tree)
    leaves, structure = jax.tree.flatten(tree)
    far = {
        number: leaf
        for number, leaf in enumerate(leaves)
        if isinstance(leaf, jax.Array)
        and not leaf.is_fully_addressable
        and not leaf.is_fully_replicated
    }
    for some in pieces(far):
        meshes: dict[int, Any] = {n: leaf.sharding for n, leaf in some.items()}
        whole = {n: NamedSharding(place.mesh, PartitionSpec()) for n, place in meshes.items()}
        for number, leaf in jax.jit(_itself, out_shardings=whole)(some).items():
            leaves[number] = jax.device_get(leaf)
    return jax.device_get(jax.tree.unflatten(structure, leaves))


def pieces(leaves: dict[int, jax.Array], most: int = AT_ONCE) -> Iterator[dict[int, jax.Array]]:
    """The leaves in groups of up to so many bytes, in order; a larger leaf by itself.

    >>> import jax.numpy as jnp
    >>> [list(some) for some in pieces({0: jnp.zeros(2), 1: jnp.zeros(9), 2: jnp.zeros(1)}, 16)]
    [[0], [1], [2]]
    """
    group: dict[int, jax.Array] = {}
    for number, leaf in leaves.items():
        if group and sum(x.nbytes for x in group.values()) + leaf.nbytes > most:
            yield group
            group = {}
        group[number] = leaf
    if group:
        yield group


def _itself(tree: Tree) -> Tree:
    """At module level, so that it is compiled once for each kind of tree."""
    return tree
