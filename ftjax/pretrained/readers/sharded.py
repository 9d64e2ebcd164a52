"""Safetensors in several files with an index, as large models are saved."""

from __future__ import annotations

import collections
import pathlib

import numpy as np

from ftjax.errors import UserError, shown
from ftjax.io.json.json_reader import JsonLimits, read_object
from ftjax.io.json.json_values import Table, check
from ftjax.pretrained.readers.safetensors_file import SafetensorsSource
from ftjax.pretrained.readers.tensor_source import TensorSource

_LIMITS = JsonLimits(duplicates=False, non_finite=True)


class ShardedSource(TensorSource):
    """The shards that a model.safetensors.index.json lists; each header is read at once."""

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        index = read_object(self.path, _LIMITS)
        if 'weight_map' not in index:
            raise UserError(f'{self.path}: not a safetensors index (it has no weight_map)')
        weight_map = check(index['weight_map'], f'{self.path}: weight_map', Table())
        shards: dict[str, SafetensorsSource] = {}
        for tensor, shard in weight_map.items():
            _check(shard, tensor, self.path)
            if shard not in shards:
                shards[shard] = self._open(shard)
            if tensor not in shards[shard].names:
                raise UserError(f'{self.path}: tensor {tensor!r} is not in its shard {shard}')
        # What a shard holds beyond the index counts too: a strict load must explain it.
        self._home = {name: shard for shard in shards.values() for name in shard.names}
        self.headers = {name: shard.headers[name] for name, shard in self._home.items()}
        total = sum(len(shard.names) for shard in shards.values())
        if total != len(self._home):
            names = collections.Counter(name for s in shards.values() for name in s.names)
            twice = next(name for name, times in names.items() if times > 1)
            raise UserError(f'{self.path}: tensor {twice!r} is in two shards')

    def _open(self, shard: str) -> SafetensorsSource:
        file = self.path.with_name(shard)
        if not file.exists():
            raise UserError(f'{self.path}: its shard {shard} is missing')
        return SafetensorsSource(file)

    def file_of(self, name: str) -> str:
        """Name of the shard."""
        return self._home[name].path.name

    def read(self, name: str) -> np.ndarray:
        """One tensor, from the shard that holds it."""
        return self._home[name].read(name)


def _check(shard: object, tensor: str, index: pathlib.Path) -> None:
    """A shard is a plain file name: an index from elsewhere must not lead out of its folder."""
    plain = isinstance(shard, str) and not set(shard) & set('/\\\0:')
    if not plain or not str(shard).endswith('.safetensors') or len(str(shard)) > 250:
        raise UserError(
            f'{index}: tensor {shown(tensor)} is said to be in {shown(shard)}; a shard is the name '
            'of a .safetensors file beside the index'
        )
