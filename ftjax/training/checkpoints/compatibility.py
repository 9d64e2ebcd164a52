"""What of a saved tree still fits, when the network, the optimizer or the plan has changed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ftjax.io.json.tree_json import leaf_paths


@dataclasses.dataclass(frozen=True)
class Changes:
    """Leaf paths of an expected tree and of a saved one, by what becomes of them."""

    kept: tuple[str, ...]
    """In both, with the same shape and dtype: taken from the checkpoint."""
    initialised: dict[str, str]
    """Expected but not saved so, with the reason: they start anew."""
    dropped: tuple[str, ...]
    """Saved but not expected: they are left behind."""

    @property
    def same(self) -> bool:
        """True when nothing is initialised and nothing dropped."""
        return not self.initialised and not self.dropped

    @property
    def counts(self) -> str:
        """How many leaves are kept, initialised and dropped."""
        return (
            f'{len(self.kept)} leaves kept, {len(self.initialised)} initialised, '
            f'{len(self.dropped)} dropped'
        )

    def table(self, limit: int = 20) -> str:
        """Lines for people: the counts, then up to `limit` paths of each kind of change."""
        lines = [self.counts]
        begun = [f'{path} ({why})' for path, why in self.initialised.items()]
        for name, rows in (('initialised', begun), ('dropped', self.dropped)):
            more = [f'and {len(rows) - limit} more'] if len(rows) > limit else []
            lines += [f'  {name}: {row}' for row in (*rows[:limit], *more)]
        return '\n'.join(lines)


def compare(saved: Any, expected: Any, known_as: Callable[[str], str] = str) -> Changes:
    """Compares leaves by path, shape and dtype; values are not looked at.

    Args:
      saved: a tree as `Checkpoints.restore` returns it.
      expected: the tree wanted now: arrays or `jax.ShapeDtypeStruct`s in any containers.
      known_as: what of a path must agree; all of it by default.

    >>> saved = {'mu': {'head/kernel': np.zeros(3), 'norm/scale': np.zeros(2)}}
    >>> compare(saved, {'mu': {'head/kernel': np.zeros(4)}}).initialised
    {'mu/head/kernel': 'float64(3,) in the checkpoint, float64(4,) expected'}
    """
    here, paths = leaf_paths(expected), leaf_paths(saved)
    there = {known_as(path): leaf for path, leaf in paths.items()}
    kept, initialised = [], {}
    for path, leaf in here.items():
        found = there.get(known_as(path))
        if found is None:
            initialised[path] = 'not in the checkpoint'
        elif _kind(found) != _kind(leaf):
            initialised[path] = f'{_kind(found)} in the checkpoint, {_kind(leaf)} expected'
        else:
            kept.append(path)
    wanted = {known_as(path) for path in here}
    dropped = tuple(path for path in paths if known_as(path) not in wanted)
    return Changes(tuple(kept), initialised, dropped)


def merge(saved: Any, expected: Any, known_as: Callable[[str], str] = str) -> tuple[Any, Changes]:
    """`expected`, in its own containers, with the values of every leaf that is kept.

    Leaves that are not kept stay as they are in `expected`.

    Raises:
      TypeError: such a leaf is a ShapeDtypeStruct: it would be left without a value.
    """
    changes = compare(saved, expected, known_as)
    there = {known_as(path): leaf for path, leaf in leaf_paths(saved).items()}
    kept, merged = set(changes.kept), []
    for path, leaf in leaf_paths(expected).items():
        if path not in kept and isinstance(leaf, jax.ShapeDtypeStruct):
            raise TypeError(f'{path} has no value: {changes.initialised[path]}')
        merged.append(there[known_as(path)] if path in kept else leaf)
    return jax.tree.unflatten(jax.tree.structure(expected), merged), changes


def ungrouped(path: str) -> str:
    """The place of an optimizer's leaf without the name of the group that its plan gave it.

    >>> ungrouped('opt_state/1/inner_states/top/decay/inner_state/0/mu/head/kernel')
    'opt_state/1/inner_states/*/inner_state/0/mu/head/kernel'
    """
    return re.sub(r'inner_states/.+?/(?:no_)?decay/', 'inner_states/*/', path)


def _kind(leaf: Any) -> str:
    if hasattr(leaf, 'dtype') and hasattr(leaf, 'shape'):
        dtype = leaf.dtype
        return f'{dtype.name if isinstance(dtype, np.dtype) else dtype}{tuple(leaf.shape)}'
    return type(leaf).__name__
