"""A split of a data set, in memory or on disk, with its class names and a fingerprint."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.example_columns import Column
from ftjax.data.images.modes import Whites
from ftjax.data.labels import DEFAULT_TASK, LabelKind, labels_of
from ftjax.data.labels.names import strings
from ftjax.errors import UserError, check_name
from ftjax.io.files.file_hashes import file_hashes

KINDS = ('image', 'image_file', 'text', 'tfds', 'table')
READ_LATER = ('image_file', 'tfds')
"""Kinds whose inputs are read from files while a run is going, not when a split is made."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """One split.

    Raises UserError when inputs, labels and ids differ in number, or a label is no class.

    >>> data = Dataset(
    ...     name='d', kind='text', inputs=['good', 'bad'], labels=[1, 0], class_names=('no', 'yes')
    ... )
    >>> len(data), data.take([1]).inputs[0]
    (2, 'bad')
    """

    name: str
    """Where it comes from, for messages: `digits train`."""
    kind: str
    """What inputs hold: `image` (an array), `image_file` (paths), `text`, `tfds` (records), `table`
    (rows of numbers and categories)."""
    inputs: Any
    """(N, H, W, C) uint8, or float32 in 0..1; an object array of N str, or (N, k) for k
    texts each; TFDS records; or a Table."""
    labels: np.ndarray
    """What the task's kind of labels says (ftjax/data/labels): (N,) int32 classes, (N,) float32
    values, (N, classes) float32 of 0 and 1, or (N,) masks."""
    class_names: tuple[str, ...] = ()
    """Names in label order; empty where labels are no classes."""
    task: str = DEFAULT_TASK
    ids: Any = ()
    """(N,) str, stable from run to run; made from the position when not given."""
    channels: int | None = None
    """Channels that image files are read with; None for RGB. Arrays have their own."""
    max_length: int | None = None
    """Tokens that a text is cut to; None for as many as the network takes."""
    packed: bool = False
    """Whether training batches hold several texts in a row."""
    whites: Whites | None = None
    """What is white in image files of more than 8 bits; None where there are none."""
    groups: Any = ()
    """(N,) str: what each example belongs to, which no split parts; () where nothing is said."""
    columns: Mapping[str, Column] = dataclasses.field(default_factory=dict)
    """What a loss finds in its batches beside inputs and labels; it is in no fingerprint."""

    def __post_init__(self):
        check_name(self.kind, KINDS, 'kind of data set')
        kind = labels_of(self.task, 'task')
        labels = np.asarray(self.labels, kind.dtype)
        inputs = self.inputs
        if self.kind == 'text':
            inputs = _texts(self.name, inputs, pairs=kind.form == 'joined' and bool(self.task))
        elif self.kind == 'image_file':
            inputs = strings(inputs)
        elif self.kind == 'image':
            inputs = _images(self.name, np.asarray(inputs))
        count = len(inputs)
        ids = self.ids if len(self.ids) or not count else [f'{i:06d}' for i in range(count)]
        ids = strings(ids)
        kind.check(self.name, labels, len(self.class_names))
        if labels.ndim != kind.axes or not len(labels) == len(ids) == count:
            raise UserError(
                f'{self.name}: {count} inputs, labels of shape {labels.shape} and '
                f'{len(ids)} ids; expected one of each per example'
            )
        if self.kind == 'image' and count:
            labels = kind.of_inputs(inputs, labels, lambda i: f'{self.name} {ids[i]}')
        groups = strings(self.groups) if len(self.groups) else ()
        if len(groups) not in (0, count):
            raise UserError(f'{self.name}: {len(groups)} groups for {count} examples')
        for name, column in self.columns.items():
            if column.count != count:
                raise ValueError(f'{self.name}: {name} has {column.count} rows, not {count}')
        own = {'inputs': inputs, 'labels': labels, 'ids': ids, 'groups': groups}
        for field, value in own.items():
            if isinstance(value, np.ndarray):
                value = value.view()
                value.flags.writeable = False  # a split is shared by runs: nobody edits it
            object.__setattr__(self, field, value)
        names = self.class_names if kind.named else ()
        object.__setattr__(self, 'class_names', tuple(str(name) for name in names))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def label_kind(self) -> LabelKind:
        """How the labels of its task are read, checked and told of."""
        return labels_of(self.task)

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 where labels are no classes."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """Numbers that a network gives for an example; 0 where that is the network's affair."""
        return self.label_kind.outputs(self.class_names)

    @property
    def takes(self) -> str:
        """What a network for it takes: `images`, `texts` or `table`."""
        return {'text': 'texts', 'table': 'table'}.get(self.kind, 'images')

    def take(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """The examples at these positions, in this order."""
        where = np.asarray(indices, np.int64)
        fields = ('inputs', 'labels', 'ids', *(('groups',) if len(self.groups) else ()))
        picked = {name: getattr(self, name)[where] for name in fields}
        columns = {name: column.take(where) for name, column in self.columns.items()}
        return dataclasses.replace(self, columns=columns, **picked)

    def with_columns(self, columns: Mapping[str, Column]) -> Dataset:
        """The same examples; a hash of them that is known stays known."""
        other = copy.copy(self)
        object.__setattr__(other, 'columns', dict(columns))
        return other

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the examples, their labels, ids and order, and the class names.

        Of a file all bytes count, not the place it lies in. Where inputs are read from files
        while a run is going it is taken anew each time; files that have not changed since the
        last time are not read again (ftjax/io/files/file_hashes.py).

        Raises:
          UserError: a file that is no longer there.
        """
        return self._digest() if self.kind in READ_LATER else self._digest_in_memory

    @functools.cached_property
    def _digest_in_memory(self) -> str:
        return self._digest()

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for part in (self.kind, self.task, *self.class_names, *self.ids):
            _feed(digest, part.encode())
        if self.whites is not None:
            _feed(digest, repr(self.whites).encode())
        for group in self.groups:
            _feed(digest, group.encode())
        for part in self.label_kind.hashed(self.labels):
            _feed(digest, part)
        if self.kind == 'image':
            _feed(digest, f'{self.inputs.dtype} {self.inputs.shape}'.encode())
            _feed(digest, np.ascontiguousarray(self.inputs))
        elif self.kind == 'text':
            if self.inputs.ndim > 1:
                _feed(digest, f'texts {self.inputs.shape}'.encode())
            for text in self.inputs.reshape(-1):
                _feed(digest, text.encode('utf-8', 'surrogatepass'))
        elif self.kind == 'image_file':
            for found in file_hashes(self.inputs):
                _feed(digest, found.encode())
        else:
            _feed(digest, self.inputs.signature.encode())
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Splits:
    """Train, validation and test data of one task; val and test may be empty."""

    train: Dataset
    val: Dataset
    test: Dataset
    unlabelled: Dataset | None = None
    """Examples without a label, for what adapts to inputs alone; their labels mean nothing."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out, or read in a way that is not the only one."""
    group_columns: Mapping[str, Mapping[str, str]] = dataclasses.field(
        default_factory=dict, compare=False
    )
    """By column whose name says what an example belongs to {id of an example: what stands
    there}."""
    given: tuple[str, ...] = ('train', 'val', 'test')
    """Which splits the source gives; the others are cut from its training examples."""
    slices: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict, compare=False)
    """By column of data.slices {id of an example: what stands there}."""
    whole: Splits | None = dataclasses.field(default=None, compare=False)
    """The same data before windows were cut from their images; None where none were."""

    def with_columns(self, columns: Mapping[str, Column]) -> Splits:
        """The same data, for a loss that finds these in its training batches.

        What was found of the examples and is kept here, by the audit say, stays known.
        """
        other = copy.copy(self)
        object.__setattr__(other, 'train', self.train.with_columns(columns))
        notes = [note for column in columns.values() for note in column.notes]
        object.__setattr__(other, 'notes', tuple(dict.fromkeys((*self.notes, *notes))))
        return other

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order; empty where labels are no classes."""
        return self.train.class_names

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.train.task

    @property
    def label_kind(self) -> LabelKind:
        """How its labels are read, checked and told of."""
        return self.train.label_kind

    @property
    def num_outputs(self) -> int:
        """Numbers that a network gives for an example; 0 where that is the network's affair."""
        return self.train.num_outputs

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over those of the three splits."""
        return joint_fingerprint(
            self.train.fingerprint, self.val.fingerprint, self.test.fingerprint
        )


def joint_fingerprint(train: str, val: str, test: str) -> str:
    """The fingerprint of three splits from theirs."""
    return hashlib.sha256(f'{train} {val} {test}'.encode()).hexdigest()


def _texts(name: str, values: Any, pairs: bool) -> np.ndarray:
    """An object array of str: (N,), or (N, k) where every example is k texts; 2 where `pairs`."""
    several = [isinstance(value, (tuple, list, np.ndarray)) for value in values]
    if not any(several):
        return strings(values)
    each = {len(value) for value in values} if all(several) else {0}
    if len(each) > 1 or min(each) < 2 or (pairs and each != {2}):
        many = 'two throughout' if pairs else 'as many throughout'
        raise UserError(f'{name}: expected one text an example throughout, or {many}')
    flat = strings([text for value in values for text in value])
    return flat.reshape(-1, *each)


def _images(name: str, images: np.ndarray) -> np.ndarray:
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
        raise UserError(
            f'{name}: images are {images.dtype} {images.shape}; expected (N, height, width, '
            'channels), uint8 in 0..255 or float32 in 0..1'
        )
    return images


def _feed(digest: Any, part: bytes | np.ndarray) -> None:
    # The length first: otherwise ('ab', 'c') and ('a', 'bc') would be the same data.
    digest.update(str(part.nbytes if isinstance(part, np.ndarray) else len(part)).encode() + b':')
    digest.update(part)
