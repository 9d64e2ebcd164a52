"""Any tree as plain JSON plus a flat list of arrays, with a hash for each array, and back.

The JSON keeps the keys as they are (with '/' in them, if so), empty containers, None, text
and numbers; the arrays go to whatever stores arrays, under names that any storage takes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ftjax.io.process.side_by_side import Pair, copy_all

Skeleton = Any
_SCALARS = (str, bool, int, float)


def pack(tree: object, into: Mapping[str, object] | None = None) -> tuple[Skeleton, dict[str, Any]]:
    """Splits a tree into a JSON skeleton and its arrays by name ('00000', '00001', ..).

    Lists and tuples become lists; dicts, named tuples and other pytree nodes become dicts by
    key or field name. Every array is copied to the host, but those that other processes hold
    parts of: they stay what they are. Arrays of an earlier call given as `into` are written over
    where they fit: memory that is new to the process costs more than the copy.

    Raises:
      TypeError: a leaf is no array, number, text or None; or a dict has a key that is no text.

    >>> skeleton, arrays = pack({'a/b': np.zeros(2), 'best': -np.inf, 'rest': []})
    >>> skeleton
    {'dict': {'a/b': {'array': '00000'}, 'best': {'float': '-inf'}, 'rest': {'list': []}}}
    >>> unpack(skeleton, arrays)
    {'a/b': array([0., 0.]), 'best': -inf, 'rest': []}
    """
    arrays: dict[str, object] = {}
    later: list[Pair] = []
    skeleton = _pack(tree, arrays, '', into or {}, later)
    copy_all(later)
    return skeleton, arrays


def _pack(
    node: object,
    arrays: dict[str, object],
    path: str,
    into: Mapping[str, object],
    later: list[Pair],
) -> Skeleton:
    if node is None or (isinstance(node, _SCALARS) and not isinstance(node, np.generic)):
        if isinstance(node, float) and not math.isfinite(node):
            return {'float': repr(node)}
        return node
    if isinstance(node, (np.ndarray, np.generic, jax.Array)):
        name = f'{len(arrays):05d}'
        array = node if shared_out(node) else to_host(node, path, into.get(name), later)
        if array.size == 0:  # Orbax refuses them.
            return {'empty': [array.dtype.name, list(array.shape)]}
        arrays[name] = array
        return {'array': name}
    children = dict(_children(node, path))
    if isinstance(node, list) or type(node) is tuple:
        parts = [_pack(x, arrays, _join(path, k), into, later) for k, x in children.items()]
        return {'list': parts}
    return {'dict': {k: _pack(x, arrays, _join(path, k), into, later) for k, x in children.items()}}


def unpack(skeleton: Skeleton, arrays: Mapping[str, object]) -> object:
    """Inverse of `pack`: nested dicts and lists with what `arrays` has by name.

    Raises:
      ValueError, TypeError, AttributeError, LookupError: `pack` has not made it.
    """
    if not isinstance(skeleton, dict):
        if not (skeleton is None or isinstance(skeleton, _SCALARS)):
            raise TypeError(f'a skeleton holds a {type(skeleton).__name__}')
        return skeleton
    ((kind, value),) = skeleton.items()
    match kind:
        case 'array':
            return arrays[value]
        case 'empty':
            dtype, shape = value
            if 0 not in shape:  # it would be allocated
                raise ValueError('an empty array that is not empty')
            return np.zeros(shape, jax.numpy.dtype(dtype))
        case 'float':
            return float(value)
        case 'list':
            return [unpack(item, arrays) for item in value]
        case 'dict':
            return {key: unpack(item, arrays) for key, item in value.items()}
    raise ValueError(f'a skeleton holds {kind!r}')


def leaf_paths(tree: object) -> dict[str, object]:
    """Leaves by path, keys joined by '/'; the same for a tree and for what `unpack` returns.

    None is an empty node, not a leaf.

    Raises:
      ValueError: two leaves share a path ({'a/b': .., 'a': {'b': ..}}).
    """
    found: dict[str, object] = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        path = path_of(keys)
        if path in found:
            raise ValueError(f'two leaves have the path {path!r}')
        found[path] = leaf
    return found


def path_of(keys: Iterable[object]) -> str:
    """A leaf's path, from the keys that JAX gives it."""
    return '/'.join(_key_name(key) for key in keys)


def to_host(leaf: object, path: str, into: object, later: list[Pair]) -> np.ndarray:
    """The whole array as NumPy, in native byte order, in memory of its own.

    That is `into` if it fits; then the copy is left to whoever holds `later`.
    """
    if isinstance(leaf, jax.Array):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise TypeError(f'{path}: save jax.random.key_data(key), not the key itself')
        if not leaf.is_fully_addressable:
            leaf = leaf.addressable_data(0)
    array = np.asarray(leaf)
    if array.dtype.kind in 'OSUMm':
        raise TypeError(f'{path}: cannot store an array of {array.dtype}; use a list')
    # A copy, in row order: the caller may donate or overwrite the buffer.
    kind = array.dtype.newbyteorder('=')
    if isinstance(into, np.ndarray) and (into.dtype, into.shape) == (kind, array.shape):
        later.append((into, array))
        return into
    return np.array(array, kind, order='C', copy=True)


def shared_out(leaf: Any) -> bool:
    """Whether other processes hold parts of the array that this one does not."""
    far = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    return far and not leaf.is_fully_replicated


def array_hash(array: np.ndarray, grid: str = '') -> str:
    """SHA-256 over dtype, shape and bytes.

    Args:
      array: on the host.
      grid: into how many equal parts each axis is cut, '4x1', if each part is hashed by itself;
        the hash is then '4x1:' and one over those of the parts.
    """
    if grid:
        parts = [array]
        for axis, cuts in enumerate(map(int, grid.split('x'))):
            parts = [piece for part in parts for piece in np.split(part, cuts, axis)]
        return joined_hash(grid, [bytes.fromhex(array_hash(part)) for part in parts])
    digest = hashlib.sha256(f'{array.dtype.name}{array.shape}'.encode())
    # bfloat16 and its kin have no buffer interface of their own: look at the bytes.
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def joined_hash(grid: str, digests: Iterable[bytes]) -> str:
    """The hash of an array from those of its parts, in row order."""
    return f'{grid}:{hashlib.sha256(b"".join(digests)).hexdigest()}'


def json_hash(value: object) -> str:
    """SHA-256 over a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()


def _children(node: object, path: str) -> Iterator[tuple[str, object]]:
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


def _key_name(key: object) -> str:
    for attribute in ('key', 'name', 'idx'):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _join(path: str, key: str) -> str:
    return f'{path}/{key}' if path else key
