"""Inputs without labels as evaluation batches, a part at a time.

They are decoded, resized and tokenised by the code that reads a run's own data, so that the
network sees of an input what it saw of it in training.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.images.decode import decode, resize_array, upright_size
from ftjax.data.images.geometry import Geometry, geometry_for, match_channels
from ftjax.data.images.modes import Whites
from ftjax.data.labels import NO_TASK
from ftjax.data.labels.choices import filled_up, hole
from ftjax.data.streams.evaluation_batches import EvalBatches
from ftjax.data.streams.loader import Loader
from ftjax.data.unlabelled.feature_items import table_inputs
from ftjax.data.unlabelled.items import Found, Item, Unreadable, unicode_fault
from ftjax.errors import UserError
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.table_features import TablePreprocessing
from ftjax.preprocessing.texts import TextPreprocessing

TEXTS = 16_384
"""Texts that are held at once. They are batched by length among these: a data set of no more has
the batches that it has in an evaluation, and so the same outputs, bit for bit on a CPU."""

Failed = Callable[[Unreadable], None]


@dataclasses.dataclass(frozen=True)
class Reading:
    """How inputs become what a network takes; fields as of a run's data and network."""

    preprocessing: Preprocessing | TextPreprocessing | None
    batch_size: int = 256
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    whites: Whites | None = None
    sizes: bool = False
    """Whether the images' own sizes are wanted, for answers of each pixel."""
    task: str = NO_TASK
    """The task whose labels are made from the inputs; NO_TASK where none are."""
    fewest_texts: int = 1
    """Of an input of a text with several others."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some inputs in the order of their source, and their batches."""

    ids: Sequence[str]
    batches: EvalBatches
    sizes: Sequence[tuple[int, int] | None] = ()
    """(height, width) of each image as it came, where the reading asks for it."""

    @property
    def cut(self) -> np.ndarray:
        """Whether each input, a text, lost tokens at `longest`: bool (n,)."""
        found: Any = getattr(self.batches.loader.texts, 'cut', None)
        return np.zeros(len(self.ids), bool) if found is None else found

    @property
    def longest(self) -> int:
        """Tokens that the network sees of a text; 0 where inputs are none."""
        texts = self.batches.loader.texts
        return 0 if texts is None else texts.preprocessing.max_length


def chunks(found: Iterable[Found], reading: Reading, failed: Failed) -> Iterator[Chunk]:
    """Batches of inputs, in memory that does not grow with their number.

    Args:
      found: inputs, and some that could not be read.
      reading: how they are read.
      failed: is told of each that is left out.
    """
    if isinstance(reading.preprocessing, TextPreprocessing):
        size = max(1, TEXTS // reading.batch_size) * reading.batch_size
        for part in _parts(_unicode(found, reading, failed), size):
            yield from _tokenised(part, reading, failed)
        return
    table: object = reading.preprocessing
    if isinstance(table, TablePreprocessing):
        for part in _parts(_whole(found, failed), reading.batch_size):
            yield _chunk(part, 'table', table_inputs(part, table), reading)
        return
    for part in _parts(_decoded(found, reading, failed), reading.batch_size):
        images = np.stack([item.value for item in part])
        yield _chunk(part, 'image', images, reading)


def _parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    items = iter(items)
    while part := list(itertools.islice(items, size)):
        yield part


def _chunk(part: Sequence[Item], kind: str, inputs: object, reading: Reading) -> Chunk:
    ids = [item.id for item in part]
    labels, task = np.array([item.label for item in part]), reading.task
    data = Dataset(name='inputs', kind=kind, inputs=inputs, labels=labels, task=task, ids=ids)
    loader = Loader(data, reading.image_size, reading.preprocessing, cache_bytes=0)
    sizes = [item.size for item in part]
    return Chunk(ids, EvalBatches(loader, reading.batch_size), sizes)


def _whole(found: Iterable[Found], failed: Failed) -> Iterator[Item]:
    for item in found:
        if isinstance(item, Unreadable):
            failed(item)
        else:
            yield item


def _unicode(found: Iterable[Found], reading: Reading, failed: Failed) -> Iterator[Item]:
    """Texts that can be tokenised; of inputs of several texts those with as many as the first."""
    form, first = getattr(reading.preprocessing, 'form', ''), 0
    for item in _whole(found, failed):
        texts = 1 if isinstance(item.value, str) else len(item.value)
        first = first or texts
        if texts != first and form != 'choices':
            failed(Unreadable(item.id, f'texts: {texts}; expected {first}, as of the first input'))
            continue
        if texts < reading.fewest_texts and form == 'choices':
            least = reading.fewest_texts - 1
            failed(Unreadable(item.id, f'choices: {texts - 1}; expected {least} or more'))
            continue
        if form == 'choices' and hole(item.value):
            failed(Unreadable(item.id, hole(item.value)))
            continue
        if item.label and reading.task == NO_TASK:
            failed(Unreadable(item.id, 'is a conversation; expected a text'))
            continue
        fault = unicode_fault(item.value)
        if fault:
            failed(Unreadable(item.id, fault))
        else:
            yield item


def _tokenised(part: Sequence[Item], reading: Reading, failed: Failed) -> Iterator[Chunk]:
    """A chunk, or several around a text on which the tokenizer fails."""
    try:
        inputs = [item.value for item in part]
        if getattr(reading.preprocessing, 'form', '') == 'choices':
            inputs = filled_up(inputs)
        yield _chunk(part, 'text', inputs, reading)
    except UserError as error:
        if len(part) == 1:
            failed(Unreadable(part[0].id, str(error)))
            return
        middle = len(part) // 2
        for half in (part[:middle], part[middle:]):
            yield from _tokenised(half, reading, failed)


def _decoded(found: Iterable[Found], reading: Reading, failed: Failed) -> Iterator[Item]:
    """Images at the network's size, decoded ahead by threads, in the order of their source."""
    none = np.zeros(0, np.float32)
    nothing = Dataset(
        name='inputs',
        kind='image_file',
        inputs=[],
        labels=none,
        task=NO_TASK,
        channels=reading.channels,
    )
    assert not isinstance(reading.preprocessing, TextPreprocessing)
    geometry = geometry_for(nothing, reading.image_size, reading.preprocessing)
    threads = min(16, 2 * (os.cpu_count() or 1))
    waiting: collections.deque[tuple[Item, Future[Item]]] = collections.deque()

    def finished(item: Item, future: Future[Item]) -> Iterator[Item]:
        try:
            yield future.result()
        except UserError as error:
            failed(Unreadable(item.id, str(error)))

    with ThreadPoolExecutor(threads) as pool:
        for item in _whole(found, failed):
            waiting.append((item, pool.submit(_image, item, geometry, reading)))
            if len(waiting) > 4 * threads:
                yield from finished(*waiting.popleft())
        while waiting:
            yield from finished(*waiting.popleft())


def _image(item: Item, geometry: Geometry, reading: Reading) -> Item:
    value, size = item.value, None
    if isinstance(value, str):
        size = upright_size(value) if reading.sizes else None
        return Item(item.id, decode(value, geometry, whites=reading.whites), size=size)
    if reading.channels:
        value = match_channels(value, reading.channels)
    size = (value.shape[0], value.shape[1]) if reading.sizes else None
    return Item(item.id, resize_array(value, geometry), size=size)
