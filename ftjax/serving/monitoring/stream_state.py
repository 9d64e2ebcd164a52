"""What monitoring remembers from one call to the next: one file, whole or as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.json.json_reader import JsonLimits, parse_json
from ftjax.io.json.json_values import Integer, Kind, ListOf, Number, Table, Text, check_table
from ftjax.pretrained.readers.safetensors_file import SafetensorsSource, write_safetensors
from ftjax.serving.bundle.reference import Reference
from ftjax.serving.monitoring.martingale import CEILING, Evidence
from ftjax.serving.monitoring.traffic_rows import Rows

POOL = 4096
"""Examples that a window is compared with, at most."""
LARGEST = 2**28
HISTORY = 5000
"""Windows whose results are remembered."""
STATISTICS = ('features', 'confidence', 'classes', 'inputs')
_LIMITS = JsonLimits(size=2**26, depth=10, duplicates=False)
_KINDS: dict[str, Kind] = {
    'version': Integer(1, 1),
    'bundle': Text(longest=64),
    'alpha': Number(0, 1, low_belongs=False, high_belongs=False),
    'statistics': ListOf(Text(STATISTICS), 1, len(STATISTICS)),
    'evidence': Table(of=Table()),
    'label_evidence': Table(),
    'began': Integer(0, 2**41),
    'tested_until': Integer(0, 2**41),
    'right': Integer(0, 2**60),
    'labelled': Integer(0, 2**60),
    'labels_used': ListOf(Integer(0, 2**41), 0, HISTORY),
    'periods': ListOf(Table(), 0, HISTORY),
    'highest': Number(0, 10 * CEILING),
}
_EVIDENCE: dict[str, Kind] = {
    'steps': Integer(0, 2**40),
    'running': Number(0, 10 * CEILING),
    'highest': Number(0, 10 * CEILING),
}


@dataclasses.dataclass
class StreamState:
    """One stream of windows of one bundle, from its first window on."""

    bundle: str
    alpha: float
    """Chance of any false alarm over the whole stream, at most."""
    statistics: list[str]
    """Those that share the alarm, fixed at the beginning."""
    pool: Rows
    """A fair sample of the reference and of all windows so far."""
    evidence: dict[str, Evidence]
    label_evidence: Evidence = dataclasses.field(default_factory=Evidence)
    began: int = 0
    """Seconds since 1970: windows that begin before it are of an earlier stream."""
    tested_until: int = 0
    """Seconds since 1970: windows that begin before it came too late."""
    right: int = 0
    labelled: int = 0
    """Right answers and labels, of the reference and of the periods in `labels_used`."""
    labels_used: list[int] = dataclasses.field(default_factory=list)
    periods: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Results, as `compare_windows.take_period` gives them."""
    highest: float = 1.0
    """The largest mean of the statistics' martingales so far."""


def new_state(bundle: str, reference: Reference, alpha: float, began: int = 0) -> StreamState:
    """The beginning of a stream: only the reference is known. For `began` see `StreamState`.

    Raises:
      UserError: alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise UserError(f'alpha is {alpha:g}; expected a number above 0 and below 1')
    statistics = ['features', 'confidence']
    statistics += ['classes'] * bool(len(reference.predicted))
    statistics += ['inputs'] * bool(reference.measure_names)
    return StreamState(
        bundle=bundle,
        alpha=alpha,
        began=began,
        tested_until=began,
        statistics=statistics,
        pool=rows_of(reference),
        evidence={name: Evidence() for name in statistics},
        right=reference.right,
        labelled=reference.labelled,
    )


def rows_of(reference: Reference) -> Rows:
    """The examples of a reference."""
    return Rows(reference.features, reference.values, reference.answers, reference.measures)


def file_of(folder: pathlib.Path, bundle: str) -> pathlib.Path:
    """The file of a bundle's stream: another bundle begins another stream."""
    return folder / f'state_{bundle[:12]}.safetensors'


def write_state(folder: pathlib.Path, state: StreamState) -> None:
    """Writes the file in one step."""
    arrays = {f.name: getattr(state.pool, f.name) for f in dataclasses.fields(Rows)}
    kept = dataclasses.replace(
        state, periods=state.periods[-HISTORY:], labels_used=state.labels_used[-HISTORY:]
    )
    facts = {key: getattr(kept, key) for key in _KINDS if key != 'version'}
    text = json.dumps(to_jsonable({'version': 1, **facts}), allow_nan=False)
    write_safetensors(
        file_of(folder, state.bundle),
        {key: (a.dtype, a.shape, lambda a=a: a) for key, a in arrays.items()},
        {'state': text},
    )


def read_state(folder: pathlib.Path, bundle: str, reference: Reference) -> StreamState | None:
    """What a folder remembers of a bundle's stream; None where it remembers nothing.

    Raises:
      UserError: a file that is damaged, or of another reference.
    """
    path = file_of(folder, bundle)
    if not os.path.lexists(path):
        return None
    remedy = f'{path} is damaged; --restart begins a new stream'
    with contextlib.suppress(OSError):
        if os.stat(path).st_size > LARGEST:
            raise UserError(f'{remedy}: it has more than {LARGEST:,} bytes')
    source = SafetensorsSource(path)
    facts = parse_json(source.metadata.get('state', ''), f'{path}: state', _LIMITS)
    if not isinstance(facts, dict) or set(facts) != set(_KINDS):
        raise UserError(f'{remedy}: expected the fields {", ".join(_KINDS)}')
    check_table(facts, _KINDS, str(path))
    if facts['bundle'] != bundle:
        raise UserError(f'{remedy}: it is of another bundle')
    rows = facts.pop('evidence')
    if set(rows) != set(facts['statistics']):
        raise UserError(f'{remedy}: evidence of other statistics')
    found: dict[str, Evidence] = {}
    for name, row in {**rows, 'labels': facts.pop('label_evidence')}.items():
        if set(row) != set(_EVIDENCE):
            raise UserError(f'{remedy}: evidence of {name}')
        check_table(row, _EVIDENCE, f'{path}: evidence of {name}')
        found[name] = Evidence(**row)
    pool = _read_pool(source, reference, remedy)
    labels = found.pop('labels')
    del facts['version']
    return StreamState(pool=pool, evidence=found, label_evidence=labels, **facts)


def _read_pool(source: SafetensorsSource, reference: Reference, remedy: str) -> Rows:
    n = source.headers['values'].shape[0] if 'values' in source.headers else 0
    expected = {
        'features': ('float32', (n, reference.features.shape[1])),
        'values': ('float32', (n,)),
        'answers': ('int32', (n,)),
        'measures': ('float32', (n, len(reference.measure_names))),
    }
    arrays: dict[str, np.ndarray] = {}
    for name, (dtype, shape) in expected.items():
        header = source.headers.get(name)
        if header is None or (header.dtype.name, tuple(header.shape)) != (dtype, shape) or not n:
            raise UserError(f'{remedy}: {name} is no {dtype} of shape {shape}')
        arrays[name] = source.read(name)
    if not np.isfinite(arrays['features']).all() or n > POOL:
        raise UserError(f'{remedy}: its examples are not finite, or too many')
    return Rows(**arrays)
