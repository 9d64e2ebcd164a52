"""What of a saved tree still fits, when the network, the optimizer or the plan has changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from ftjax.training.checkpoint_tree import leaf_paths


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

    def table(self, limit: int = 20) -> str:
        """Lines for people: the counts, then up to `limit` paths of each kind of change."""
        lines = [
            f'{len(self.kept)} leaves kept, {len(self.initialised)} initialised, '
            f'{len(self.dropped)} dropped'
        ]
        for name, rows in (
            ('initialised', [f'{path} ({why})' for path, why in self.initialised.items()]),
            ('dropped', list(self.dropped)),
        ):
            lines += [f'  {name}: {row}' for row in rows[:limit]]
            if len(rows) > limit:
                lines.append(f'  {name}: and {len(rows) - limit} more')
        return '\n'.join(lines)


def compare(saved: Any, expected: Any) -> Changes:
    """Compares leaves by path, shape and dtype; values are not looked at.

    Args:
      saved: a tree as `Checkpoints.restore` returns it.
      expected: the tree wanted now: arrays or `jax.ShapeDtypeStruct`s in any containers.

    >>> saved = {'mu': {'head/kernel': np.zeros(3), 'norm/scale': np.zeros(2)}}
    >>> compare(saved, {'mu': {'head/kernel': np.zeros(4)}}).initialised
    {'mu/head/kernel': 'float64(3,) in the checkpoint, float64(4,) expected'}
    """
    there, here = leaf_paths(saved), leaf_paths(expected)
    kept, initialised = [], {}
    for path, leaf in here.items():
        if path not in there:
            initialised[path] = 'not in the checkpoint'
        elif _kind(there[path]) != _kind(leaf):
            initialised[path] = f'{_kind(there[path])} in the checkpoint, {_kind(leaf)} expected'
        else:
            kept.append(path)
    dropped = tuple(path for path in there if path not in here)
    return Changes(kept=tuple(kept), initialised=initialised, dropped=dropped)


def merge(saved: Any, expected: Any) -> tuple[Any, Changes]:
    """`expected`, in its own containers, with the values of every leaf that is kept.

    Leaves that are not kept stay as they are in `expected`.

    Raises:
      TypeError: such a leaf is a ShapeDtypeStruct: it would be left without a value.
    """
    changes, there = compare(saved, expected), leaf_paths(saved)
    kept, merged = set(changes.kept), []
    for path, leaf in leaf_paths(expected).items():
        if path not in kept and isinstance(leaf, jax.ShapeDtypeStruct):
            raise TypeError(f'{path} has no value: {changes.initialised[path]}')
        merged.append(there[path] if path in kept else leaf)
    return jax.tree.unflatten(jax.tree.structure(expected), merged), changes


def _kind(leaf: Any) -> str:
    if hasattr(leaf, 'dtype') and hasattr(leaf, 'shape'):
        dtype = leaf.dtype
        return f'{dtype.name if isinstance(dtype, np.dtype) else dtype}{tuple(leaf.shape)}'
    return type(leaf).__name__
