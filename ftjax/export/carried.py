"""Tensors of an export: those that did not train as the source has them, the others in its dtypes.

Names, dtypes, bytes and files of a checkpoint stay where the run did not change them. What trained
is written in the dtype that the source had for it; what is new in the dtype of the source's
config.json.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from ftjax.errors import UserError
from ftjax.export.origin import Origin
from ftjax.export.source_names import to_source
from ftjax.io.json.json_values import JsonObject
from ftjax.leaves import flatten, stage_of, unflatten
from ftjax.models.stages import Network
from ftjax.pretrained.keymaps.keymap import KeyMap, Match
from ftjax.pretrained.own_format import WEIGHTS, write_json
from ftjax.pretrained.readers.safetensors_file import Lazy, write_safetensors
from ftjax.pytrees import Array, Variables

INDEX = f'{WEIGHTS}.index.json'
FORMAT = {'format': 'pt'}
"""transformers refuses a file without this entry."""
Tensor = tuple[np.dtype, tuple[int, ...], Lazy]


@dataclasses.dataclass
class Carried:
    """The tensors of an export by file, and how many of each kind there are."""

    files: dict[str, dict[str, Tensor]] = dataclasses.field(default_factory=dict)
    as_they_were: int = 0
    rewritten: dict[str, int] = dataclasses.field(default_factory=dict)
    """dtype -> tensors that the run changed or made."""

    @property
    def said(self) -> str:
        """One sentence."""
        others = ' and '.join(f'{n} in {dtype}' for dtype, n in sorted(self.rewritten.items()))
        return f'{self.as_they_were} tensors are bit for bit those of the source' + (
            f'; the run wrote {others}.' if others else '.'
        )


def carried(
    origin: Origin,
    network: Network,
    variables: Variables,
    config: JsonObject,
    names: KeyMap,
    trained_dtype: str | None = None,
) -> Carried:
    """The tensors of a run's network, with what its source has of them.

    Args:
      origin: what the run began with.
      network: of the run.
      variables: {'params': .., 'batch_stats': ..}.
      config: the config.json of the export.
      names: the key map of the export's config.json.
      trained_dtype: of what trained or is new; None for the source's.

    Raises:
      UserError: a leaf that no rule names, or a trained value beyond its dtype's range.
    """
    source, theirs = origin.source, origin.key_map(network)
    leaves, found, done = flatten(variables), Carried(), set()
    same_class = bool(origin.config) and (
        config['architectures'][0] in (origin.config.get('architectures') or ())
    )
    several = len({source.file_of(name) for name in source.names}) > 1
    own_base = base_of(names, leaves)
    bare = not any(name.startswith(own_base) for name in source.names)
    dtypes = {}

    def put(file: str, name: str, tensor: Tensor) -> None:
        found.files.setdefault(file if several else WEIGHTS, {})[name] = tensor

    def rewritten(dtype: np.dtype) -> None:
        found.rewritten[dtype.name] = found.rewritten.get(dtype.name, 0) + 1

    for name in source.names:
        file, dtype, shape = source.file_of(name), source.dtype(name), source.shape(name)
        match = theirs.match(name)
        if match is None or any(key not in leaves for key in match.keys):
            if origin.config and belongs(name, match, own_base, bare, same_class, network):
                put(
                    file,
                    own_base + name if bare and not same_class else name,
                    (dtype, shape, lambda name=name: source.read(name)),
                )
                found.as_they_were += 1
            continue
        dtypes.update(dict.fromkeys(match.keys, (dtype, file)))
        fits = [tuple(leaves[k].shape) for k in match.keys] == match.rule.shapes(shape)
        written = name if same_class and origin.config else renamed(names, match)
        if not fits or written is None or not set(match.keys).isdisjoint(done):
            continue
        done |= set(match.keys)
        parts = [leaves[key] for key in match.keys]
        if unchanged(match, source.read(name), parts):
            put(file, written, (dtype, shape, lambda name=name: source.read(name)))
            found.as_they_were += 1
            continue
        kind = np.dtype(trained_dtype) if trained_dtype else dtype
        rewritten(kind)
        put(file, written, (kind, shape, _maker(match, parts, kind, written)))
    rest = {key: leaf for key, leaf in leaves.items() if key not in done}
    usual = Counter(source.dtype(n) for n in source.names if is_float(source.dtype(n)))
    common = config_dtype(config) or (usual.most_common(1)[0][0] if usual else np.dtype('float32'))
    last = list(found.files)[-1] if found.files else WEIGHTS
    for name, (have, shape, give) in to_source(unflatten(rest), names).items():
        key = next(k for k in rest if (names.source_of(k) or ('',))[0] == name)
        kind, file = dtypes.get(key, (common, last))
        kind = np.dtype(trained_dtype) if trained_dtype else kind
        kind = kind if is_float(have) else have
        rewritten(kind)
        put(file, name, (kind, shape, lambda g=give, k=kind, n=name: in_range(g(), k, n)))
    return found


def renamed(names: KeyMap, match: Match) -> str | None:
    """The name of the same tensor in another key map; None where that cuts leaves otherwise."""
    found = names.source_of(match.keys[0])
    if found is None or found[1].keys != match.keys:
        return None
    same = found[1].rule.layout.name == match.rule.layout.name
    return found[0] if same and found[1].rule.split == match.rule.split else None


def base_of(names: KeyMap, leaves: Mapping[str, object]) -> str:
    """What the names of all tensors but the head's begin with, 'bert.'; '' for nothing."""
    trunk = [names.source_of(key) for key in leaves if stage_of(key) != 'head']
    firsts = {found[0].partition('.')[0] for found in trunk if found}
    return f'{firsts.pop()}.' if len(firsts) == 1 else ''


def belongs(
    name: str, match: Match | None, base: str, bare: bool, same_class: bool, network: Network
) -> bool:
    """Whether a tensor that the network has no leaf for is one of the exported class."""
    if match is not None and any(stage_of(key) == 'head' for key in match.keys):
        return same_class and 'head' not in network.stages
    return same_class or bare or name.startswith(base)


def unchanged(match: Match, tensor: np.ndarray, leaves: Sequence[Array]) -> bool:
    """Whether the leaves are what loading made of a tensor, bit for bit."""
    for part, leaf in zip(match.rule.forward(tensor), leaves, strict=True):
        now = np.asarray(leaf)
        then = np.ascontiguousarray(part.astype(now.dtype))
        if then.tobytes() != np.ascontiguousarray(now).tobytes():
            return False
    return True


def _maker(match: Match, leaves: Sequence[Array], dtype: np.dtype, name: str) -> Lazy:
    def make() -> np.ndarray:
        return in_range(match.rule.inverse([np.asarray(leaf) for leaf in leaves]), dtype, name)

    return make


def in_range(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """Values in a dtype; UserError for one that is too large for it."""
    if values.dtype == dtype:
        return values
    with np.errstate(over='ignore'):
        made = values.astype(dtype)
    if is_float(dtype) and np.isinf(made).any():
        raise UserError(
            f'{name} holds values that are too large for {dtype.name}, which the source has; '
            'export with --dtype=float32'
        )
    return made


def is_float(dtype: Any) -> bool:
    """Whether it is one of the kinds of floating-point numbers, bfloat16 included."""
    return bool(jnp.issubdtype(dtype, jnp.floating))


def config_dtype(config: Mapping[str, object]) -> np.dtype | None:
    """The dtype that a config.json names; None for none or 'auto'."""
    name = config.get('dtype') or config.get('torch_dtype')
    name = name.removeprefix('torch.') if isinstance(name, str) else ''
    if name not in ('float16', 'bfloat16', 'float32', 'float64'):
        return None
    return np.dtype(getattr(ml_dtypes, name, name))


def write_carried(folder: pathlib.Path, tensors: Carried, origin: Origin) -> None:
    """Writes the files, and the index where there are several."""
    for file, rows in tensors.files.items():
        write_safetensors(folder / file, rows, FORMAT)
    if set(tensors.files) == {WEIGHTS}:
        return
    place = {name: file for file, rows in tensors.files.items() for name in rows}
    old = json.loads(origin.source.path.read_text(encoding='utf-8')).get('metadata') or {}
    every = [row for rows in tensors.files.values() for row in rows.values()]
    sizes = {
        'total_size': sum(int(np.prod(shape, dtype=object)) * d.itemsize for d, shape, _ in every),
        'total_parameters': sum(int(np.prod(shape, dtype=object)) for _, shape, _ in every),
    }
    told = {**old, 'total_size': sizes['total_size']}
    if 'total_parameters' in old:
        told['total_parameters'] = sizes['total_parameters']
    write_json(folder / INDEX, {'metadata': told, 'weight_map': dict(sorted(place.items()))})
