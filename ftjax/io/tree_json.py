"""Any tree as plain JSON plus a flat list of arrays, with a hash for each array, and back.

The JSON keeps the keys as they are (with '/' in them, if so), empty containers, None, text
and numbers; the arrays go to whatever stores arrays, under names that any storage takes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

Skeleton = Any
_SCALARS = (str, bool, int, float)


def pack(tree: Any) -> tuple[Skeleton, dict[str, np.ndarray]]:
    """Splits a tree into a JSON skeleton and its arrays by name ('00000', '00001', ..).

    Lists and tuples become lists; dicts, named tuples and other pytree nodes become dicts by
    key or field name. Every array is copied to the host.

    Raises:
      TypeError: a leaf is no array, number, text or None; or a dict has a key that is no text.

    >>> skeleton, arrays = pack({'a/b': np.zeros(2), 'best': -np.inf, 'rest': []})
    >>> skeleton
    {'dict': {'a/b': {'array': '00000'}, 'best': {'float': '-inf'}, 'rest': {'list': []}}}
    >>> unpack(skeleton, arrays)
    {'a/b': array([0., 0.]), 'best': -inf, 'rest': []}
    """
    arrays: dict[str, np.ndarray] = {}
    return _pack(tree, arrays, ''), arrays


def _pack(node: Any, arrays: dict[str, np.ndarray], path: str) -> Skeleton:
    if node is None or (isinstance(node, _SCALARS) and not isinstance(node, np.generic)):
        if isinstance(node, float) and not math.isfinite(node):
            return {'float': repr(node)}
        return node
    if isinstance(node, (np.ndarray, np.generic, jax.Array)):
        array = to_host(node, path)
        if array.size == 0:  # Orbax refuses them.
            return {'empty': [array.dtype.name, list(array.shape)]}
        name = f'{len(arrays):05d}'
        arrays[name] = array
        return {'array': name}
    children = dict(_children(node, path))
    if isinstance(node, list) or type(node) is tuple:
        return {'list': [_pack(x, arrays, _join(path, k)) for k, x in children.items()]}
    return {'dict': {k: _pack(x, arrays, _join(path, k)) for k, x in children.items()}}


def unpack(skeleton: Skeleton, arrays: Mapping[str, np.ndarray]) -> Any:
    """Inverse of `pack`: nested dicts and lists with NumPy arrays."""
    if not isinstance(skeleton, dict):
        return skeleton
    ((kind, value),) = skeleton.items()
    if kind == 'array':
        return arrays[value]
    if kind == 'empty':
        return np.zeros(value[1], jax.numpy.dtype(value[0]))
    if kind == 'float':
        return float(value)
    if kind == 'list':
        return [unpack(item, arrays) for item in value]
    return {key: unpack(item, arrays) for key, item in value.items()}


def array_paths(skeleton: Skeleton, path: str = '') -> Iterator[tuple[str, str]]:
    """Pairs of an array's name and its path in the tree, for messages."""
    if isinstance(skeleton, dict):
        ((kind, value),) = skeleton.items()
        if kind == 'array':
            yield value, path
        elif kind in ('list', 'dict'):
            for key, item in value.items() if kind == 'dict' else enumerate(value):
                yield from array_paths(item, _join(path, str(key)))


def leaf_paths(tree: Any) -> dict[str, Any]:
    """Leaves by path, keys joined by '/'; the same for a tree and for what `unpack` returns.

    None is an empty node, not a leaf.

    Raises:
      ValueError: two leaves share a path ({'a/b': .., 'a': {'b': ..}}).
    """
    found: dict[str, Any] = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        path = '/'.join(_key_name(key) for key in keys)
        if path in found:
            raise ValueError(f'two leaves have the path {path!r}')
        found[path] = leaf
    return found


def to_host(leaf: Any, path: str = '') -> np.ndarray:
    """The whole array as NumPy, in native byte order, gathered from all devices and hosts."""
    if isinstance(leaf, jax.Array):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise TypeError(f'{path}: save jax.random.key_data(key), not the key itself')
        if not leaf.is_fully_addressable:
            if leaf.is_fully_replicated:
                leaf = leaf.addressable_data(0)
            else:
                from jax.experimental import multihost_utils

                leaf = multihost_utils.process_allgather(leaf, tiled=True)
    array = np.asarray(leaf)
    if array.dtype.kind in 'OSUMm':
        raise TypeError(f'{path}: cannot store an array of {array.dtype}; use a list')
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder('='))
    # A copy of its own, in row order: the caller may donate or overwrite the buffer.
    return np.array(array, order='C', copy=True)


def array_hash(array: np.ndarray) -> str:
    """SHA-256 over dtype, shape and bytes."""
    digest = hashlib.sha256(f'{array.dtype.name}{array.shape}'.encode())
    # bfloat16 and its kin have no buffer interface of their own: look at the bytes.
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def json_hash(value: Any) -> str:
    """SHA-256 over a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()


def _children(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Key names and values one level below a pytree node."""
    if isinstance(node, Mapping):
        for key in node:
            if not isinstance(key, str):
                raise TypeError(f'{path or "the top"}: the key {key!r} is no text')
    pairs = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)[0]
    for keys, value in pairs:
        if not keys:
            raise TypeError(f'{path}: cannot store a {type(node).__name__}')
        yield _key_name(keys[0]), value


def _key_name(key: Any) -> str:
    for attribute in ('key', 'name', 'idx'):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _join(path: str, key: str) -> str:
    return f'{path}/{key}' if path else key
