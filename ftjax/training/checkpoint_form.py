"""Whether a manifest has the form that it must have, before anything relies on it.

Its hash finds accidents. Whoever writes a manifest can compute its hash too, so that what it
says is looked at as well: nothing in it can make reading it fail in another way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax


def well_formed(manifest: Any) -> bool:
    """Whether it is a manifest of ours: metrics, items and the hashes of their arrays."""
    if not isinstance(manifest, dict):
        return False
    items, hashes = manifest.get('items'), manifest.get('hashes')
    if not isinstance(items, dict) or not isinstance(hashes, dict) or set(items) != set(hashes):
        return False
    if type(manifest.get('step')) is not int or type(manifest.get('format')) is not int:
        return False
    metrics = manifest.get('metrics')
    if not _node(metrics, {}) or not isinstance(metrics, dict) or set(metrics) != {'dict'}:
        return False
    numbers = metrics['dict'].values()
    if not all(type(x) is float or (isinstance(x, dict) and set(x) == {'float'}) for x in numbers):
        return False
    for name, skeleton in items.items():
        stated = hashes[name]
        if not isinstance(stated, dict) or not all(isinstance(x, str) for x in stated.values()):
            return False
        if not _node(skeleton, stated) or sorted(_arrays(skeleton)) != sorted(stated):
            return False
    return True


def _node(node: Any, hashes: Mapping[str, str]) -> bool:
    """Whether a node of a skeleton is one that `checkpoint_tree.pack` makes."""
    if node is None or isinstance(node, (bool, int, float, str)):
        return True
    if not isinstance(node, dict) or len(node) != 1:
        return False
    ((kind, value),) = node.items()
    match kind:
        case 'array':
            return isinstance(value, str) and value in hashes
        case 'float':
            return value in ('nan', 'inf', '-inf')
        case 'empty':
            return _empty(value)
        case 'list':
            return isinstance(value, list) and all(_node(x, hashes) for x in value)
        case 'dict':
            return isinstance(value, dict) and all(_node(x, hashes) for x in value.values())
    return False


def _empty(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    name, shape = value
    if not isinstance(name, str) or not isinstance(shape, list) or len(shape) > 32:
        return False
    if not all(type(side) is int and 0 <= side < 2**31 for side in shape):
        return False
    try:
        known = jax.numpy.dtype(name).name == name
    except TypeError:
        return False
    return known and math.prod(shape) == 0


def _arrays(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        ((kind, value),) = node.items()
        if kind == 'array':
            yield value
        elif kind in ('list', 'dict'):
            for item in value if kind == 'list' else value.values():
                yield from _arrays(item)
