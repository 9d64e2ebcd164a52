"""Golden inputs: examples with the outputs that the bundle gave when it was made.

They are checked whenever a bundle is loaded: another machine, compiler or driver that computes
something else is found before the first request, not after.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.io.files.atomic import write_json
from ftjax.io.json.json_reader import JsonLimits, read_object
from ftjax.io.json.json_values import Integer, ListOf, Text, check
from ftjax.pretrained.readers.safetensors_file import SafetensorsSource, write_safetensors

FILE, RAW = 'goldens.safetensors', 'goldens.json'
COUNT = 10
LIMITS = JsonLimits(size=2**24, depth=12, duplicates=False)
TOLERANCE = {'cpu': 1e-5, 'cuda': 2e-2, 'tpu': 2e-2}
"""Shares of the largest output. Goldens are computed on a CPU in float32; GPUs and TPUs round the
factors of a float32 product to fewer bits unless they are told otherwise."""


@dataclasses.dataclass(frozen=True)
class Goldens:
    """Examples and their outputs."""

    inputs: Mapping[str, np.ndarray]
    """As the program takes them, (rows, ..); texts padded to the longest among them."""
    outputs: np.ndarray
    """float32 (rows, ..)."""
    ids: tuple[str, ...]
    raw: tuple[Any, ...] = ()
    """The examples as a request holds them: texts, or rows of a table; () for images."""
    counts: tuple[int, ...] = ()
    """Rows of each example; () where each is one."""


def write_goldens(folder: pathlib.Path, goldens: Goldens) -> None:
    """Writes goldens.safetensors and goldens.json."""
    arrays = {f'inputs/{name}': value for name, value in goldens.inputs.items()}
    write_arrays(folder / FILE, {**arrays, 'outputs': goldens.outputs})
    counts = {'counts': goldens.counts} if goldens.counts else {}
    write_json(folder / RAW, {'ids': goldens.ids, 'raw': goldens.raw, **counts})


def read_goldens(folder: pathlib.Path) -> Goldens:
    """Reads them; UserError for a file that is not as `write_goldens` writes it."""
    arrays = read_arrays(folder / FILE)
    path = folder / RAW
    found = read_object(path, LIMITS)
    ids: Any = check(found.get('ids'), f'{path}: ids', ListOf(Text(), 1, 1000))
    raw = found.get('raw')
    where = f'{path}: counts'
    counts: Any = check(found.get('counts', []), where, ListOf(Integer(1, 2**16), 0, len(ids)))
    inputs = {k.removeprefix('inputs/'): v for k, v in arrays.items() if k.startswith('inputs/')}
    outputs = arrays.get('outputs', np.zeros(0))
    rows = {len(array) for array in (*inputs.values(), outputs)}
    several = not counts or len(counts) == len(ids)
    whole = rows == {sum(counts) if counts else len(ids)} and several
    if not whole or not isinstance(raw, list) or len(raw) not in (0, len(ids)):
        raise UserError(f'{folder}: its goldens differ in number; make the bundle anew')
    return Goldens(inputs, outputs, tuple(ids), tuple(raw), tuple(counts))


def check_outputs(found: np.ndarray, expected: np.ndarray, tolerance: float, where: str) -> float:
    """How far outputs are from the goldens', as a share of the largest; UserError beyond it.

    >>> check_outputs(np.array([[1.0]]), np.array([[1.0]]), 1e-5, 'b')
    0.0
    """
    largest = max(1e-3, float(np.abs(expected).max(initial=0.0)))
    off = np.abs(found.astype(np.float64) - expected)
    worst = float(off.max(initial=0.0)) / largest
    if not worst <= tolerance:  # a NaN is not
        raise UserError(
            f'{where}: outputs on the golden inputs differ by {worst:.3g} of the largest, where '
            f'{tolerance:g} is allowed: this machine does not compute what the bundle was made for'
        )
    return worst


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays as a safetensors file."""
    write_safetensors(path, {name: (a.dtype, a.shape, lambda a=a: a) for name, a in arrays.items()})


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All arrays of a safetensors file."""
    source = SafetensorsSource(path)
    return {name: source.read(name) for name in source.names}
