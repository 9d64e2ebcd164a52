"""A bundle that was verified: its programs, run on arrays or on raw inputs."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ftjax.errors import UserError, shown
from ftjax.pretrained.own_files import WEIGHTS
from ftjax.serving.bundle.answer_forms.forms import form_of
from ftjax.serving.bundle.exported_programs import (
    check_arguments,
    file_of,
    platform,
    read_program,
)
from ftjax.serving.bundle.golden_rows import fitting, real_outputs, to_length
from ftjax.serving.bundle.goldens import check_outputs, read_arrays, read_goldens
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.manifest import check_manifest, manifest_digest
from ftjax.serving.bundle.raw_inputs import Reader, reader_of
from ftjax.serving.bundle.signature import LENGTH, Signature, read_signature

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Of some rows of inputs, in their order."""

    outputs: np.ndarray
    """float32 (n, ..): of the signature's `row_shape`; tokens, where they have outputs, padded."""
    features: np.ndarray
    """float32 (n, features): the embedding before the head."""
    tokens: np.ndarray | None = None
    """int32 (n, new): what was written, of a form that `writes`."""

    @property
    def answered(self) -> np.ndarray:
        """What answers are made of."""
        return self.outputs if self.tokens is None else self.tokens


class Bundle:
    """Programs and weights of a bundle's folder; see `load`.

    Programs are compiled for a batch size when it is first asked for, and kept. Calls from
    several threads are safe.
    """

    def __init__(self, folder: pathlib.Path, manifest: Mapping[str, Any], digest: str = ''):
        self.folder, self.manifest, self.digest = folder, manifest, digest
        self.signature: Signature = read_signature(folder)
        weights = read_arrays(folder / WEIGHTS)
        self.exported = {}
        for bucket in self.signature.buckets:
            path = folder / file_of(bucket)
            self.exported[bucket] = read_program(path, manifest.get('versions'))
            check_arguments(self.exported[bucket], weights, self.signature, bucket, str(path))
        self.form = form_of(self.signature)
        self.weights = jax.device_put(weights)
        self.compiled: dict[tuple[int, int], Any] = {}
        self._lock = threading.Lock()
        self._reader: Reader | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the outputs; () where outputs are no classes."""
        return self.signature.class_names

    @property
    def reader(self) -> Reader:
        """What makes arrays of raw inputs; opened when it is first needed."""
        if self._reader is None:
            self._reader = reader_of(self.folder, self.signature)
        return self._reader

    def compile(self, bucket: int, size: int) -> Any:
        """The program for texts of this length (0: one shape) and so many examples a batch."""
        with self._lock:
            if (bucket, size) not in self.compiled:
                specs = {
                    name: jax.ShapeDtypeStruct((size, *array.of_length(bucket)), array.dtype)
                    for name, array in self.signature.inputs.items()
                }
                call = jax.jit(self.exported[bucket].call)
                self.compiled[bucket, size] = call.lower(self.weights, specs).compile()
            return self.compiled[bucket, size]

    def share_programs(self, other: Bundle) -> bool:
        """Takes what another bundle compiled of programs that are the same file in both.

        Versions of one network have the same programs and other weights.

        Returns:
          Whether all programs are the same.
        """
        mine, theirs = (bundle.manifest.get('files', {}) for bundle in (self, other))
        same = {
            bucket
            for bucket in self.signature.buckets
            if file_of(bucket) in mine and mine[file_of(bucket)] == theirs.get(file_of(bucket))
        }
        with other._lock:
            found = {key: program for key, program in other.compiled.items() if key[0] in same}
        with self._lock:
            self.compiled = {**found, **self.compiled}
        return same == set(self.signature.buckets)

    def run(self, inputs: Arrays, size: int | None = None, bucket: int | None = None) -> Outputs:
        """Outputs on arrays as the signature describes them.

        Args:
          inputs: {name: (n, ..)}; texts of any one length that a bucket holds.
          size: examples a batch; fewer are filled up by copies of the first. None for as many
            as there are. Another size may change the last bits.
          bucket: tokens that texts are padded to; None for the smallest that holds them.

        Raises:
          UserError: arrays of another name, dtype or shape, or values out of range.
        """
        arrays = self.checked(inputs)
        count = len(next(iter(arrays.values())))
        size = count if size is None else size
        if not 0 < count <= size:
            raise UserError(f'{count} examples for a batch of {size}')
        bucket = self.signature.bucket(self.length(arrays)) if bucket is None else bucket
        padded = {}
        for name, array in arrays.items():
            spec = self.signature.inputs[name]
            if LENGTH in spec.shape:
                array = to_length(array, bucket, spec.pad)
            more = np.broadcast_to(array[:1], (size - count, *array.shape[1:]))
            padded[name] = np.concatenate([array, more]) if size > count else array
        found = self.compile(bucket, size)(self.weights, padded)
        return Outputs(**{name: np.asarray(array)[:count] for name, array in found.items()})

    def length(self, arrays: Arrays) -> int:
        """Tokens of texts, padding included; 0 for inputs of one shape."""
        for name, spec in self.signature.inputs.items():
            if LENGTH in spec.shape:
                return arrays[name].shape[1 + spec.shape.index(LENGTH)]
        return 0

    def checked(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """The arrays, if they are what the signature says; see `run`."""
        wanted = self.signature.inputs
        if set(inputs) != set(wanted):
            raise UserError(
                f'inputs are {", ".join(map(repr, inputs)) or "nothing"}; expected '
                f'{", ".join(map(repr, wanted))}'
            )
        rows, lengths = set(), set()
        for name, spec in wanted.items():
            array = np.asarray(inputs[name])
            rows.add(len(array) if array.ndim else 0)
            sides = array.shape[1:]
            if LENGTH in spec.shape and len(sides) == len(spec.shape):
                lengths.add(sides[spec.shape.index(LENGTH)])
            shape = spec.of_length(max(lengths, default=0))
            if array.dtype != spec.dtype or sides != shape:
                raise UserError(
                    f'{name} is {array.dtype} {shown(array.shape)}; expected {spec.dtype} '
                    f'{shown(("examples", *spec.shape))}'
                )
            # Written so that a NaN is out of range too.
            if array.size and not (array.min() >= spec.low and array.max() <= spec.high):
                raise UserError(
                    f'{name} has values that are no numbers, or not from {spec.low:g} to '
                    f'{spec.high:g}, in {spec.unit}'
                )
        if len(rows) != 1 or rows == {0}:
            raise UserError(f'inputs have {shown(sorted(rows))} examples; expected one number')
        return {name: np.asarray(inputs[name]) for name in wanted}

    def predict(self, raw: Sequence[Any]) -> list[dict[str, Any]]:
        """Answers to raw inputs: what `form.asks` says; image files as bytes, rows as dicts.

        Raises:
          UserError: an input that cannot be read, or an output that is no finite number.
        """
        read = [self.reader.rows(each) for each in raw]
        arrays = self.reader.stacked([row for each in read for row in each.rows])
        return self.answers(list(self.run(arrays).answered), read)

    def run_each(
        self, read: Sequence[InputRows], size: int
    ) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
        """(`answered` of each row, features (rows, width)) of each input, `size` rows a batch.

        Rows of a batch are padded to one length, which outputs of tokens have too.
        """
        rows = [row for each in read for row in each.rows]
        parts = [rows[first : first + size] for first in range(0, len(rows), size)]
        found = [self.run(self.reader.stacked(part), size) for part in parts]
        outputs = iter([row for part in found for row in part.answered])
        features = iter([row for part in found for row in part.features])
        for each in read:
            own = [next(outputs) for _ in each.rows]
            yield own, np.stack([next(features) for _ in each.rows])

    def without_padding(
        self, outputs: Sequence[np.ndarray], given: InputRows
    ) -> Sequence[np.ndarray]:
        """The outputs of an input's rows, without those of padding where tokens have outputs."""
        if LENGTH not in self.signature.row_shape:
            return outputs
        sizes = [int(row['attention_mask'].sum()) for row in given.rows]
        return [each[:size] for each, size in zip(outputs, sizes, strict=True)]

    def answers(
        self, outputs: Sequence[np.ndarray], read: Sequence[InputRows]
    ) -> list[dict[str, Any]]:
        """Answers to inputs, of the outputs of all their rows one after the other."""
        ends = np.cumsum([0, *(len(each.rows) for each in read)])
        return [
            self.form.answer(outputs[first:last], each, self.signature)
            for each, first, last in zip(read, ends[:-1], ends[1:], strict=True)
        ]

    def check_goldens(self, size: int | None = None) -> float:
        """Runs the golden inputs through every program that holds one; see `check_outputs`.

        Args:
          size: rows a batch; None for as many as there are goldens.

        Returns:
          How far the outputs were off at most, as a share of the largest.
        """
        goldens, worst = read_goldens(self.folder), 0.0
        allowed = self.signature.tolerance.get(platform(), 0.0)
        for bucket in self.signature.buckets:
            inputs, at = fitting(goldens, self.signature, bucket)
            count = len(at) if size is None else size
            for first in range(0, len(at), max(count, 1)):
                part = {name: array[first : first + count] for name, array in inputs.items()}
                rows = at[first : first + count]
                found = self.run(part, count, bucket).outputs
                found, expected = (
                    real_outputs(each, part, self.signature)
                    for each in (found, goldens.outputs[rows])
                )
                where = str(self.folder / file_of(bucket))
                worst = max(worst, check_outputs(found, expected, allowed, where))
        return worst


def load(
    folder: str | os.PathLike[str], *, sha256: str | None = None, goldens: bool = True
) -> Bundle:
    """Opens a bundle: it needs jax, numpy and flatbuffers, neither flax nor optax.

    Args:
      folder: that scripts/export.py --format=bundle wrote.
      sha256: of its bundle.json, to be sure that it is the one that was published.
      goldens: whether the golden inputs are run, which compiles each program once.

    Raises:
      UserError: a file is missing, changed or of another kind; a program that this JAX cannot
        read; outputs that differ from the goldens.
    """
    path = pathlib.Path(folder)
    manifest = check_manifest(path, sha256)
    bundle = Bundle(path, manifest, manifest_digest(path))
    if goldens:
        bundle.check_goldens()
    return bundle
