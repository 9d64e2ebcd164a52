"""Optimizer state by path: counts of its own for each leaf, and what a new phase carries on."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import DictKey, GetAttrKey, keystr


def separately(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Runs a transformation on each leaf by itself, so that each has its own step count.

    The state is {path: state of that leaf}: a leaf that joins later starts at count 0, and its
    first Adam step is as long as its learning rate (3.2 times that under a stale count).
    """

    def own(tree: Any) -> dict[str, Any]:
        return {p: leaf for p, leaf in tree.items() if not isinstance(leaf, optax.MaskedNode)}

    def init(params: object):
        return {path: inner.init({path: leaf}) for path, leaf in own(params).items()}

    def update(updates: Any, state: Any, params: Any = None):
        moved, states = dict(updates), {}
        for path, gradient in own(updates).items():
            weights = None if params is None else {path: params[path]}
            found: Any = inner.update({path: gradient}, state[path], weights)
            moved[path], states[path] = found[0][path], found[1]
        return moved, states

    return optax.GradientTransformation(init, update)


class Recorded(NamedTuple):
    """Sums of gradients by path."""

    sums: dict[str, jax.Array]


def record_gradients() -> optax.GradientTransformation:
    """Passes gradients on and keeps their sum since the state was made."""

    def update(updates: Any, state: Any, params: Any = None):
        del params
        return updates, Recorded({p: state.sums[p] + leaf for p, leaf in updates.items()})

    def init(params: Any):
        return Recorded({path: jnp.zeros_like(leaf) for path, leaf in params.items()})

    return optax.GradientTransformation(init, update)


def recorded(opt_state: Any) -> dict[str, jax.Array]:
    """The sums that record_gradients kept; {} where there are none."""
    first = opt_state[0]
    return first.sums if isinstance(first, Recorded) else {}


def carry(old: object, new: object, anew: frozenset[str] = frozenset()) -> object:
    """The new state with what the old one holds of the same leaves, whatever their groups.

    Args:
      old: state of the phase that ends.
      new: state of the phase that begins, just initialised.
      anew: paths that do not carry: leaves that were re-initialised.

    Recorded sums begin again.
    """
    kept = {slot(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(old)[0]}

    def pick(path, leaf):
        if any(isinstance(key, DictKey) and key.key in anew for key in path):
            return leaf
        if any(isinstance(key, GetAttrKey) and key.name == 'sums' for key in path):
            return leaf
        found = kept.get(slot(path))
        # A copy: two groups may take the same count, and the state's buffers are donated.
        return leaf if found is None or found.shape != leaf.shape else jnp.array(found)

    return jax.tree_util.tree_map_with_path(pick, new)


def slot(path: tuple) -> tuple[str, ...]:
    """A state leaf's place, without the name of the multi_transform group it lies in."""
    kept, skip = [], False
    for key in path:
        if skip:
            skip = False
            continue
        skip = isinstance(key, GetAttrKey) and key.name == 'inner_states'
        kept.append(keystr((key,)))
    return tuple(kept)
