"""Back to the source's own names and layouts: the key map read from right to left."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from ftjax.errors import UserError
from ftjax.leaves import flatten
from ftjax.pretrained.keymaps.keymap import KeyMap, Match
from ftjax.pretrained.readers.safetensors_file import Lazy, write_safetensors
from ftjax.pytrees import Variables


def to_source(
    variables: Variables, keymap: KeyMap, *, prefix: str = ''
) -> dict[str, tuple[np.dtype, tuple[int, ...], Lazy]]:
    """The checkpoint's tensors of a network's variables, made when asked for.

    Args:
      variables: {'params': .., 'batch_stats': ..}.
      keymap: the family's names; where several rules name a leaf the first is taken.
      prefix: put before every name, as 'module.'.

    Returns:
      Tensor name -> (dtype, shape, function that gives the array), as `write_safetensors`
      takes them. What was loaded and not changed comes out bit for bit.

    Raises:
      UserError: a leaf no rule names, or a fused tensor whose parts are not all there.
    """
    leaves = flatten(variables)
    tensors: dict[str, tuple[np.dtype, tuple[int, ...], Lazy]] = {}
    for key in leaves:
        found = keymap.source_of(key)
        if found is None:
            raise UserError(f'{keymap.family}: no rule of the key map writes {key}')
        name, match = found
        missing = [part for part in match.keys if part not in leaves]
        if missing:
            raise UserError(f'{keymap.family}: {name!r} also needs {missing[0]}, which is not here')
        if prefix + name in tensors:
            continue  # another part of a fused tensor
        # Ask an array without memory for the shape: the data stays where it is.
        empty = [np.broadcast_to(np.zeros((), bool), leaves[part].shape) for part in match.keys]
        shape = match.rule.inverse(empty).shape
        dtype = np.dtype(leaves[key].dtype)
        tensors[prefix + name] = (dtype, shape, _maker(leaves, match))
    return tensors


def _maker(leaves: Mapping[str, object], match: Match) -> Lazy:
    return lambda: match.rule.inverse([np.asarray(leaves[key]) for key in match.keys])


def save_source(
    path: str | pathlib.Path,
    variables: Variables,
    keymap: KeyMap,
    *,
    prefix: str = '',
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Writes variables as safetensors under the source's names; returns the file's SHA-256."""
    # transformers refuses a file without this entry.
    metadata = {'format': 'pt', **(metadata or {})}
    return write_safetensors(path, to_source(variables, keymap, prefix=prefix), metadata)
