"""signature.json: what a bundle takes and gives: arrays with range and unit, classes, decisions."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.errors import UserError, check_name
from ftjax.evaluation.decisions import DECISIONS
from ftjax.io.files.atomic import write_json
from ftjax.io.json.json_reader import JsonLimits, read_object
from ftjax.io.json.json_values import (
    Either,
    Flag,
    Integer,
    Kind,
    ListOf,
    Null,
    Number,
    Table,
    Text,
    check_table,
)

FILE = 'signature.json'
LIMITS = JsonLimits(size=2**26, depth=12, duplicates=False)
LENGTH = 'length'
"""Stands in a shape for the tokens of a text, which are padded to one of the lengths."""
TAKES = ('images', 'texts', 'table')
_RANGE = Number(-1e38, 1e38)
_SHAPE = ListOf(Either(Integer(1, 2**31), Text((LENGTH,))), 0, 8)
_ARRAY: dict[str, Kind] = {
    'dtype': Text(('uint8', 'int32', 'float32')),
    'shape': _SHAPE,
    'low': _RANGE,
    'high': _RANGE,
    'unit': Text(longest=200),
    'pad': Integer(0, 2**31 - 1),
}
_KINDS: dict[str, Kind] = {
    'task': Text(longest=100),
    'takes': Text(TAKES),
    'inputs': Table(of=Table()),
    'lengths': ListOf(Integer(1, 2**20), 0, 64),
    'outputs': Integer(1, 2**24),
    'features': Integer(1, 2**24),
    'activation': Text(('none', *DECISIONS)),
    'class_names': ListOf(Text(), 0, 2**24),
    'temperature': Number(0, 1e6, low_belongs=False),
    'threshold': Either(Number(0, 1.001), ListOf(Number(0, 1.001), 1, 2**20), Null()),
    'before_temperature': Flag(),
    'tolerance': Table(of=Number(0, 1)),
    'preprocessing': ListOf(Text(longest=2000), 0, 50),
    'answer': Text(longest=100),
    'output_shape': _SHAPE,
    'details': Table(),
}
_LATER = {'answer': 'outputs', 'output_shape': [], 'details': {}}
"""Fields of which version 1 of a bundle knows nothing, as they are there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputArray:
    """One array that the program takes; its first axis, the batch, is not in `shape`."""

    dtype: str
    shape: tuple[int | str, ...]
    low: float
    high: float
    """Values lie from low to high, both included."""
    unit: str
    pad: int = 0
    """What fills up a text that is shorter than the length."""

    def of_length(self, length: int) -> tuple[int, ...]:
        """The shape for texts of so many tokens."""
        return tuple(length if side == LENGTH else int(side) for side in self.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """Inputs and outputs of a bundle, and how answers are made of outputs."""

    task: str
    takes: str
    """One of TAKES."""
    inputs: Mapping[str, InputArray]
    lengths: tuple[int, ...] = ()
    """In tokens, ascending: a program each; () for inputs of one shape."""
    outputs: int
    """Along the last axis of the outputs, float32: logits, or values."""
    features: int
    """Width of the embedding before the head, float32."""
    activation: str = 'none'
    class_names: tuple[str, ...] = ()
    temperature: float = 1.0
    threshold: float | tuple[float, ...] | None = None
    before_temperature: bool = False
    """Whether the threshold is of probabilities at temperature 1."""
    tolerance: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """By platform: how far outputs may differ from the goldens', as a share of their largest."""
    preprocessing: tuple[str, ...] = ()
    """In words: what is done outside the program, and what inside."""
    answer: str = 'outputs'
    """What is made of the outputs: one of `answer_forms.forms.FORMS`."""
    output_shape: tuple[int | str, ...] = ()
    """Of a row's outputs; () for `outputs` numbers."""
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What the form of answers needs beside these."""

    def __post_init__(self):
        names = self.class_names
        if (names or self.activation != 'none') and len(names) != self.outputs:
            raise UserError(f'{FILE}: {len(names)} class names for {self.outputs} outputs')
        if len(set(names)) < len(names):
            raise UserError(f'{FILE}: two classes have the same name')
        if isinstance(self.threshold, tuple) and len(self.threshold) != self.outputs:
            raise UserError(f'{FILE}: {len(self.threshold)} thresholds for {self.outputs} outputs')
        if list(self.lengths) != sorted(set(self.lengths)):
            raise UserError(f'{FILE}: lengths {self.lengths} must ascend')
        several = any(LENGTH in array.shape for array in self.inputs.values())
        if several != bool(self.lengths) or not self.inputs:
            raise UserError(f'{FILE}: inputs and lengths do not go together')

    @property
    def row_shape(self) -> tuple[int | str, ...]:
        """Of a row's outputs."""
        return self.output_shape or (self.outputs,)

    @property
    def version(self) -> int:
        """The oldest version of bundles that says all this."""
        later = (self.answer, list(self.output_shape), dict(self.details))
        return 1 if later == tuple(_LATER.values()) else 2

    @property
    def buckets(self) -> tuple[int, ...]:
        """`lengths`, or (0,) for inputs of one shape."""
        return self.lengths or (0,)

    def bucket(self, length: int) -> int:
        """The smallest that holds a text of so many tokens; UserError where none does."""
        for bucket in self.buckets:
            if length <= bucket or not self.lengths:
                return bucket
        raise UserError(f'a text of {length} tokens; expected at most {self.lengths[-1]}')

    def decide(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """(answered (n, classes) bool, probabilities float64); None of what has no classes."""
        if self.activation == 'none':
            return None
        return DECISIONS[self.activation](
            outputs, self.temperature, self.threshold, self.before_temperature
        )


def write_signature(folder: pathlib.Path, signature: Signature) -> None:
    """Writes signature.json."""
    fields = dataclasses.asdict(signature)
    if signature.version == 1:
        fields = {name: value for name, value in fields.items() if name not in _LATER}
    write_json(folder / FILE, fields)


def read_signature(folder: pathlib.Path) -> Signature:
    """What signature.json says; UserError for fields unknown, missing or of another kind."""
    path = folder / FILE
    found: dict[str, Any] = {**_LATER, **read_object(path, LIMITS)}
    _check_fields(found, _KINDS, str(path))
    inputs = {}
    for name, row in found['inputs'].items():
        _check_fields(row, _ARRAY, f'{path}: input {name}')
        fields: dict[str, Any] = {**row, 'shape': tuple(row['shape'])}
        inputs[name] = InputArray(**fields)
    threshold = found['threshold']
    given: dict[str, Any] = {**found, 'inputs': inputs}
    lists = ('lengths', 'class_names', 'preprocessing', 'output_shape')
    given |= {name: tuple(found[name]) for name in lists}
    given['threshold'] = tuple(threshold) if isinstance(threshold, list) else threshold
    return Signature(**given)


def _check_fields(found: Mapping[str, Any], kinds: Mapping[str, Kind], where: str) -> None:
    for name in found:
        check_name(name, kinds, f'{where}: field')
    for name in kinds:
        if name not in found:
            raise UserError(f'{where}: {name} is missing')
    check_table(found, kinds, where)
