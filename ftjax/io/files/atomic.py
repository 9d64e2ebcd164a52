"""Files that are either whole or as they were: written beside, synced, then renamed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from typing import Any

import numpy as np

from ftjax.io.files.owned_files import whole_file
from ftjax.io.json.json_reader import read_json as read_json


def to_jsonable(value: object) -> Any:
    """Plain JSON values from numbers, arrays, dataclasses, paths and containers of them.

    NaN and infinities become null, because the JSON standard has no word for them.

    >>> to_jsonable({'loss': np.float32('nan'), 'shape': (2, np.int64(3))})
    {'loss': None, 'shape': [2, 3]}
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [to_jsonable(item) for item in sorted(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, 'dtype'):
        # bfloat16 has no JSON-able `tolist`; float32 holds every one of its values.
        array = np.asarray(value)
        if array.dtype.kind not in 'biufSU':
            array = array.astype(np.float32)
        return to_jsonable(array.tolist())
    raise TypeError(f'cannot write a {type(value).__name__} as JSON: {value!r}')


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Replaces `path` by `data` in one step; on any failure the old file is left as it was.

    Raises:
      UserError: the folder cannot be written to, or the disk is full.
    """
    with whole_file(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Replaces `path` by `text` (UTF-8) in one step; see `write_bytes`."""
    write_bytes(path, text.encode('utf-8'))


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Replaces `path` by `value` as indented JSON in one step; see `write_bytes`."""
    text = json.dumps(to_jsonable(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + '\n')
