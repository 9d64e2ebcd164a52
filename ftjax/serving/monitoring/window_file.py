"""Files of windows: one safetensors file each, whole or not there, checked before it is used.

Its name is `window_<start>_<seconds>_<server>_<number>.safetensors`: all servers write into one
folder, and none ever writes another's file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import re
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.io.json.json_reader import JsonLimits, parse_json
from ftjax.io.json.json_values import Integer, Kind, ListOf, Text, check_table
from ftjax.pretrained.readers.safetensors_file import SafetensorsSource, write_safetensors
from ftjax.serving.bundle.reference import BINS, MOST_MEASURES
from ftjax.serving.monitoring.sketch import MOST_ROWS, SIZE_BINS, Sketch
from ftjax.serving.monitoring.traffic_rows import Rows

NAME = re.compile(r'window_(\d{8}T\d{6}Z)_(\d{1,8})_([0-9a-f]{8})_(\d{1,6})\.safetensors')
LARGEST = 2**25
"""Bytes of a window's file; larger ones are not read."""
FLUSH = 30.0
"""Seconds between two writes of the window that is being filled: a kill loses as much at most, and
so long after its end a window may still be written."""
TIME = '%Y%m%dT%H%M%SZ'
_LIMITS = JsonLimits(size=2**20, depth=6, duplicates=False)
_COUNT = Integer(0, 2**60)
_KINDS: dict[str, Kind] = {
    'version': Integer(1, 1),
    'bundle': Text(longest=64),
    'start': Integer(0, 2**40),
    'seconds': Integer(1, 2**26),
    'seen': _COUNT,
    'requests': _COUNT,
    'unusable': _COUNT,
    'refused': _COUNT,
    'seed': Integer(0, 2**63 - 1),
    'ids': ListOf(Text(longest=100), 0, MOST_ROWS),
    'measures': ListOf(Text(longest=200), 0, MOST_MEASURES),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """What one server kept of one window of time."""

    bundle: str
    """SHA-256 of the manifest of the bundle that answered."""
    start: int
    """Seconds since 1970, UTC."""
    seconds: int
    seen: int
    """Answers that are counted in the statistics."""
    requests: int
    """That these were of: the sample is one of requests, with one answer of each."""
    unusable: int
    """Answers that were not finite."""
    refused: int
    """Requests for predictions that were answered with an error."""
    seed: int
    """Of the sample."""
    ids: tuple[str, ...]
    """Of the sample: request and number of the input."""
    measures: tuple[str, ...]
    """Names of the columns of `rows.measures`."""
    rows: Rows
    """The sample."""
    histogram: np.ndarray
    """int64 (BINS + 2,), with what lies below and above the edges."""
    predicted: np.ndarray
    """int64 (classes,)."""
    sums: np.ndarray
    """float64 (width,): of the features of all answers."""
    sizes: np.ndarray
    """int64 (measures, SIZE_BINS)."""

    @property
    def end(self) -> int:
        """Seconds since 1970 at which it was over."""
        return self.start + self.seconds

    @property
    def closed(self) -> float:
        """Seconds since 1970 from which on no server writes it."""
        return self.end + 2 * FLUSH  # the last write begins within one, and takes time


def window_of(sketch: Sketch, **facts: Any) -> Window:
    """A copy of a sketch as a window; `facts` are the fields that it does not know."""
    rows, ids = sketch.sample()
    arrays = ('histogram', 'predicted', 'sums', 'sizes')
    return Window(
        seen=sketch.seen,
        requests=sketch.requests,
        unusable=sketch.unusable,
        ids=ids,
        measures=sketch.names,
        rows=rows,
        **{name: getattr(sketch, name).copy() for name in arrays},
        **facts,
    )


def file_name(window: Window, server: str, number: int) -> str:
    """The name that a server's window has."""
    return f'window_{stamp(window.start)}_{window.seconds}_{server}_{number}.safetensors'


def stamp(seconds: int) -> str:
    """A time as names of files have it.

    >>> stamp(0)
    '19700101T000000Z'
    """
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime(TIME)


def write_window(path: pathlib.Path, window: Window) -> None:
    """Writes it in one step; UserError where the folder or the disk does not allow it."""
    facts = {key: getattr(window, key) for key in _KINDS if key != 'version'}
    arrays = {f'rows.{f.name}': getattr(window.rows, f.name) for f in dataclasses.fields(Rows)}
    arrays |= {key: getattr(window, key) for key in ('histogram', 'predicted', 'sums', 'sizes')}
    write_safetensors(
        path,
        {key: (a.dtype, a.shape, lambda a=a: a) for key, a in arrays.items()},
        {'window': json.dumps({'version': 1, **facts})},
    )


def read_window(path: pathlib.Path) -> Window:
    """Reads and checks a file; UserError for what `write_window` does not write."""
    with contextlib.suppress(OSError):
        if os.stat(path).st_size > LARGEST:
            raise UserError(f'{path} has more than {LARGEST:,} bytes; no window has')
    source = SafetensorsSource(path)
    facts = parse_json(source.metadata.get('window', ''), f'{path}: window', _LIMITS)
    if isinstance(facts, dict):
        facts.setdefault('requests', facts.get('seen'))  # before: a sample of answers
    if not isinstance(facts, dict) or set(facts) != set(_KINDS):
        raise UserError(f'{path}: expected the fields {", ".join(_KINDS)}')
    check_table(facts, _KINDS, str(path))
    n, m = len(facts['ids']), len(facts['measures'])
    width = source.headers['sums'].shape if 'sums' in source.headers else ()
    classes = source.headers['predicted'].shape if 'predicted' in source.headers else ()
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        'rows.features': ('float32', (n, *width)),
        'rows.values': ('float32', (n,)),
        'rows.answers': ('int32', (n,)),
        'rows.measures': ('float32', (n, m)),
        'histogram': ('int64', (BINS + 2,)),
        'predicted': ('int64', classes),
        'sums': ('float64', width),
        'sizes': ('int64', (m, SIZE_BINS)),
    }
    if len(width) != 1 or len(classes) != 1:
        raise UserError(f'{path}: sums and predicted are missing, or no vectors')
    arrays = {}
    for name, (dtype, shape) in expected.items():
        header = source.headers.get(name)
        if header is None or (header.dtype.name, tuple(header.shape)) != (dtype, shape):
            raise UserError(f'{path}: {name} is missing, or no {dtype} of shape {shape}')
        arrays[name] = source.read(name)
    _check_values(path, arrays, facts)
    rows = Rows(*(arrays.pop(f'rows.{f.name}') for f in dataclasses.fields(Rows)))
    del facts['version']
    facts |= {'ids': tuple(facts['ids']), 'measures': tuple(facts['measures'])}
    fields: dict[str, Any] = {**facts, **arrays}
    return Window(rows=rows, **fields)


def _check_values(path: pathlib.Path, arrays: dict[str, np.ndarray], facts: Any) -> None:
    finite = all(np.isfinite(arrays[k]).all() for k in ('rows.features', 'rows.values', 'sums'))
    counts = all((arrays[k] >= 0).all() for k in ('histogram', 'predicted', 'sizes'))
    answers, classes = arrays['rows.answers'], len(arrays['predicted'])
    known = ((answers >= -1) & (answers < max(classes, 0))).all()
    if not finite or not counts or not known or np.isinf(arrays['rows.measures']).any():
        raise UserError(f'{path} holds values that no window has; it is damaged, or was changed')
    counted = len(answers) <= facts['requests'] <= facts['seen']
    if arrays['histogram'].sum() != facts['seen'] or not counted:
        raise UserError(f'{path}: its counts do not agree; it is damaged, or was changed')
