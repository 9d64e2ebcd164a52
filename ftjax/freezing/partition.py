"""Splitting a tree of variables into what trains and what does not, and back."""

from __future__ import annotations

from collections.abc import Mapping

from ftjax.errors import UserError
from ftjax.leaves import flatten, unflatten
from ftjax.pytrees import Flat


def partition(tree: Mapping[str, object], trainable) -> tuple[Flat, Flat]:
    """Splits a nested tree into flat (trainable, frozen) dicts from path to array.

    Args:
      tree: nested dict of arrays, `variables['params']`.
      trainable: a Phase, or any container of the trainable paths.

    >>> partition({'a': {'w': 1}, 'b': {'w': 2}}, {'b/w'})
    ({'b/w': 2}, {'a/w': 1})
    """
    wanted = getattr(trainable, 'trainable', trainable)
    flat = flatten(tree)
    missing = sorted(set(wanted) - set(flat))
    if missing:
        raise UserError(f'the plan trains {missing[0]!r}, which the parameters do not have')
    return (
        {path: leaf for path, leaf in flat.items() if path in wanted},
        {path: leaf for path, leaf in flat.items() if path not in wanted},
    )


def combine(*halves: Mapping[str, object]) -> dict[str, object]:
    """The nested tree of some flat dicts with disjoint paths: the inverse of partition.

    >>> combine({'b/w': 2}, {'a/w': 1})
    {'b': {'w': 2}, 'a': {'w': 1}}
    """
    merged: dict[str, object] = {}
    for half in halves:
        merged.update(half)
    if len(merged) != sum(len(half) for half in halves):
        raise ValueError('combine: a path stands in more than one half')
    return unflatten(merged)
