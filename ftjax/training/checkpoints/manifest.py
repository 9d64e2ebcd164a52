"""The manifest of a checkpoint: what was saved, with a hash for every array and for itself."""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ftjax.errors import UserError
from ftjax.io.atomic import to_jsonable
from ftjax.io.json_reader import WIDE, parse_json
from ftjax.io.regular_files import read_bytes
from ftjax.io.tree_json import array_hash, array_paths, json_hash, pack, unpack

FORMAT = 1
NAME = 'manifest'


class DamagedError(Exception):
    """A checkpoint that does not hold what was saved."""


def make_manifest(
    step: int,
    items: Mapping[str, Any],
    metrics: Mapping[str, float],
    identity: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The manifest of a checkpoint as JSON, and its arrays by item and by name.

    `identity` tells of which run and of which inputs it is, as plain JSON.

    Raises:
      ValueError: an item's name is not a plain word or is taken.
      TypeError: something can be stored neither as an array nor as JSON.
    """
    skeletons, hashes, arrays = {}, {}, {}
    for name, tree in items.items():
        if not re.fullmatch(r'[A-Za-z]\w*', name) or name in (NAME, 'metrics'):
            raise ValueError(f'{name!r} cannot be the name of a checkpoint item')
        skeletons[name], arrays[name] = pack(tree)
        hashes[name] = {key: array_hash(array) for key, array in arrays[name].items()}
    manifest = {
        'format': FORMAT,
        'step': int(step),
        'metrics': pack({key: float(value) for key, value in metrics.items()})[0],
        'items': skeletons,
        'hashes': hashes,
        **({} if identity is None else {'identity': to_jsonable(dict(identity))}),
    }
    return {**manifest, 'sha256': json_hash(manifest)}, arrays


def read_manifest(folder: pathlib.Path, step: int) -> dict[str, Any]:
    """The manifest of the checkpoint in `folder`.

    Raises:
      DamagedError: it is missing, no JSON, or not what was written.
      UserError: a later version of ftjax wrote it.
    """
    path = folder / NAME / 'metadata'
    try:
        manifest = parse_json(read_bytes(path, WIDE.size), str(path), WIDE)
        stated = manifest.pop('sha256')
        intact = json_hash(manifest) == stated and manifest['step'] == step
        whole = manifest['format'] != FORMAT or well_formed(manifest)
    except OSError as error:
        raise DamagedError(f'it has no manifest ({error.strerror})') from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError('its manifest is no JSON of ours') from error
    if not intact:
        raise DamagedError('its manifest is not what was saved (hash differs)')
    if not whole:
        raise DamagedError('its manifest is not one of ours, though its hash agrees')
    if manifest['format'] != FORMAT:
        raise UserError(f'{path}: format {manifest["format"]}; this version reads {FORMAT}')
    return manifest


def metrics_of(manifest: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that were saved with a checkpoint, NaN and infinities included."""
    return unpack(manifest['metrics'], {})


def identity_of(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The identity that was saved with a checkpoint; None in those of an earlier version."""
    found = manifest.get('identity')
    return found if isinstance(found, dict) else None


def rebuild(manifest: Mapping[str, Any], item: str, arrays: Mapping[str, Any]) -> Any:
    """The tree of one item from its arrays by name, each checked against its hash.

    Raises:
      DamagedError: an array is missing or differs; it is named by its path in the tree.
    """
    skeleton = manifest['items'][item]
    paths, checked = dict(array_paths(skeleton)), {}
    for name, expected in manifest['hashes'][item].items():
        if name not in arrays:
            raise DamagedError(f'{item}/{paths[name]} is missing')
        checked[name] = np.asarray(arrays[name])
        if array_hash(checked[name]) != expected:
            raise DamagedError(f'{item}/{paths[name]} is not what was saved (hash differs)')
    return unpack(skeleton, checked)


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
