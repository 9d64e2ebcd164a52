"""Examples of a data set by position: gathered from memory, tokenised, or decoded and kept."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.data.augmentation import Parsed
from ftjax.data.dataset import Dataset
from ftjax.data.images.decode import decode, resize_array
from ftjax.data.images.geometry import geometry_for
from ftjax.data.tables.fitted_columns import in_features
from ftjax.data.text.readers import reader_of
from ftjax.data.text.token_masking import NOT_ASKED
from ftjax.data.text.word_windows import NOWHERE
from ftjax.errors import UserError
from ftjax.preprocessing.texts import TextPreprocessing

if TYPE_CHECKING:
    from ftjax.preprocessing.images import Preprocessing

Batch = dict[str, Any]
_CACHE_BYTES = 512 * 2**20


def real_rows(batch: Mapping[str, Any]) -> np.ndarray:
    """Which rows of a batch are no padding, bool (B,).

    Padding has mask 0 and repeats an example. A mask of tokens (B, time) can be 0 for a real text
    too, of which none counts: there the first row of an example is real.

    >>> real_rows({'mask': np.array([[1], [0], [0]]), 'index': np.array([3, 3, 4])}).tolist()
    [True, False, True]
    """
    mask = np.asarray(batch['mask'])
    counts: np.ndarray = np.any(mask.reshape(len(mask), -1) > 0, axis=1)  # pyrefly: ignore
    if mask.ndim > 1 and 'index' in batch:
        counts[np.unique(batch['index'], return_index=True)[1]] = True
    return counts


class Loader:
    """Reads examples at one geometry; keeps what it decoded while the set fits in memory.

    Args:
      dataset: what to read.
      image_size: (height, width); None for the preprocessing's or the images' own.
      preprocessing: the network's; decides channels, filter and crop, or how texts become
        tokens. Without one texts stay texts.
      cache_bytes: decoded images are kept if all of them fit in this; 0 to keep none, and no
        tokens on disk either.
    """

    def __init__(
        self,
        dataset: Dataset,
        image_size: tuple[int, int] | None = None,
        preprocessing: Preprocessing | TextPreprocessing | None = None,
        cache_bytes: int = _CACHE_BYTES,
    ):
        self.dataset = dataset
        self._geometry: Any = None  # of images
        self._ready: Any = None  # everything, already as it should be
        self._kept: np.ndarray | None = None
        self.texts: Any = None  # a TextReader, or what the kind of labels has in its place
        if dataset.kind == 'text':
            if isinstance(preprocessing, TextPreprocessing):
                self.texts = reader_of(dataset, preprocessing, keep=cache_bytes > 0)
            elif preprocessing is not None:
                raise UserError(f'{dataset.name}: the network takes images, the data are texts')
            self._ready = dataset.inputs
            return
        if dataset.kind == 'table':
            # Without a preprocessing its rows are counted and ordered, never read.
            self._ready = None if preprocessing is None else in_features(dataset, preprocessing)
            self._kept, self._have = None, np.ones(len(dataset), bool)
            return
        if isinstance(preprocessing, TextPreprocessing):
            raise UserError(f'{dataset.name}: the network takes texts, the data are images')
        self._geometry = geometry_for(dataset, image_size, preprocessing)
        shape = (len(dataset), *self._geometry.shape)
        dtype = np.uint8
        if dataset.kind == 'image':
            dtype = dataset.inputs.dtype
            if dataset.inputs.shape[1:3] == shape[1:3] and not self._geometry.crops:
                self._ready = self._geometry.matched(dataset.inputs)
                return
        if np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize <= cache_bytes:
            # Pages of an empty array cost nothing until an image is written to them.
            self._kept = np.empty(shape, dtype)
        self._have = np.zeros(len(dataset), bool)

    @property
    def waits(self) -> bool:
        """Whether examples still have to be decoded or resized: worth reading ahead."""
        if self._ready is not None:
            return False
        # Arrays that are kept are resized once, quicker than grain is imported.
        return self._kept is None or (self.dataset.kind != 'image' and not self._have.all())

    @property
    def labels_need_texts(self) -> bool:
        """Whether labels are made from inputs, as those of tokens are, so that these are read."""
        words = self.texts is not None and self.texts.preprocessing.form == 'words'
        return words or self.dataset.label_kind.from_inputs

    @functools.cached_property
    def labels(self) -> Any:
        """Those of the split as batches hold them, by position."""
        size = None if self._geometry is None else self._geometry.shape[:2]
        return self.dataset.label_kind.of_batches(self.dataset.labels, size)

    def for_evaluation(self, batch: Batch) -> Batch:
        """A batch with what metrics are of, where that is more than what a loss is of."""
        dataset = self.dataset
        return {**batch, **dataset.label_kind.of_evaluation(dataset.labels[batch['index']])}

    def example(self, index: int) -> np.ndarray:
        """One decoded image; raises UserError naming a broken file. Safe from threads."""
        if self._ready is not None:
            return self._ready[index]
        if self._kept is not None and self._have[index]:
            return self._kept[index]
        image = self._read(index)
        if self._kept is not None:
            self._kept[index] = image
            self._have[index] = True  # after the pixels: another thread may be looking
        return image

    def order(self) -> np.ndarray:
        """Every position once: as they stand, but texts by the length they are padded to."""
        if self.texts is None:
            return np.arange(len(self.dataset))
        return np.argsort(self.texts.buckets, kind='stable')

    def batch(
        self,
        indices: np.ndarray,
        size: int | None = None,
        length: int | None = None,
        draw: tuple[int, int, Parsed] | None = None,
    ) -> Batch:
        """The examples at these positions, padded to `size` with mask 0 examples.

        Args:
          indices: positions in the split.
          size: examples a batch; None for as many as there are indices.
          length: tokens that texts are padded to; None for as few as will do.
          draw: (seed, step, augmentations) of texts; None for none.

        Returns:
          inputs (B, H, W, C), (B,) str, or a dict of int32 (B, length) tokens; labels (B,) or
          (B, classes); index int32 (B,), the position in the split; mask float32 (B,), 1 for a
          real example. Where there is a label for each of some tokens, labels and mask have the
          shape of the tokens: NOT_ASKED and 0 at the others.
        """
        if self.texts is not None:
            length = length or self.texts.length(indices)
            kind = self.dataset.label_kind
            if kind.from_inputs:
                inputs, hidden = kind.hidden(self.texts, indices, length, draw)
                return self.assemble(indices, inputs, size, hidden)
            if draw is not None and draw[2]:
                inputs = self.texts.augmented(indices, length, *draw)
            else:
                inputs = self.texts.inputs(indices, length)
            return self.assemble(indices, inputs, size, self._labels_of_words(indices, length))
        elif isinstance(self._ready, dict):
            kind = self.dataset.label_kind
            if kind.from_inputs:
                shown, hidden = kind.hidden(self._ready['features'], indices, 0, draw)
                more = {name: array[indices] for name, array in self._ready.items()}
                return self.assemble(indices, {**more, 'features': shown}, size, hidden)
            inputs = {name: array[indices] for name, array in self._ready.items()}
        elif self._ready is not None:
            inputs = self._ready[indices]
        elif self._kept is not None and self._have[indices].all():
            inputs = self._kept[indices]
        else:
            inputs = np.stack([self.example(int(i)) for i in indices])
        return self.assemble(indices, inputs, size)

    def packed(self, indices: np.ndarray, rows: int) -> Batch:
        """As `batch`, texts packed into so many rows of the split's longest length.

        `index` is that of the first text of a row; a row without a text repeats the first row,
        with mask 0.
        """
        inputs, labels, first = self.texts.packed(indices, rows)
        mask = self.dataset.label_kind.asked(labels).astype(np.float32)
        return {'inputs': inputs, 'labels': labels, 'index': first, 'mask': mask}

    def assemble(
        self,
        indices: np.ndarray,
        inputs: Any,
        size: int | None = None,
        hidden: np.ndarray | None = None,
    ) -> Batch:
        """The batch of inputs already read; padding repeats the first example.

        `hidden` (B, .., length) are labels of tokens, instead of the split's own. Where none are
        given, of stored features say, those of inputs are made once more if nothing is drawn.
        """
        indices, kind = np.asarray(indices), self.dataset.label_kind
        if hidden is None and kind.from_inputs and not kind.drawn and self.texts is not None:
            everything = np.arange(len(self.dataset))
            hidden = kind.hidden(self.texts, indices, self.texts.length(everything), None)[1]
        if hidden is None and self.texts is not None:
            hidden = self._labels_of_words(indices)
        size = size or len(indices)
        mask = np.zeros(size, np.float32)
        mask[: len(indices)] = 1
        if size > len(indices):
            rows = np.minimum(np.arange(size), len(indices)) % len(indices)
            indices = indices[rows]
            hidden = hidden if hidden is None else hidden[rows]
            if isinstance(inputs, dict):
                inputs = {name: array[rows] for name, array in inputs.items()}
            else:
                inputs = inputs[rows]
        labels = self.labels[indices]
        if hidden is not None:
            asked = kind.asked(hidden)
            labels, mask = hidden, mask.reshape(-1, *(1,) * (asked.ndim - 1)) * asked
        return {
            'inputs': inputs,
            'labels': labels,
            'index': indices.astype(np.int32),
            'mask': mask,
        }

    def _labels_of_words(self, indices: np.ndarray, length: int | None = None) -> np.ndarray | None:
        """Those of the split at the tokens of words; None where texts are no words.

        Of stored features the length is that of the whole split.
        """
        assert self.texts is not None
        if self.texts.preprocessing.form != 'words':
            return None
        length = length or self.texts.length(np.arange(len(self.dataset)))
        places = self.texts.places(indices, length)
        return None if places is None else at_places(self.dataset.labels[indices], places)

    def _read(self, index: int) -> np.ndarray:
        data = self.dataset
        if data.kind == 'image':
            return resize_array(data.inputs[index], self._geometry)
        if data.kind == 'tfds':
            name = f'{data.name} {data.ids[index]}'
            return data.inputs.image(index, self._geometry, name, data.whites)
        return decode(data.inputs[index], self._geometry, whites=data.whites)


def at_places(labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Labels of words at the tokens that stand for them: int32 in the shape of `places`.

    Args:
      labels: (B, words) of each word; of another shape they are not of words, and 0 is given.
      places: int (B, .., tokens), the word that a token stands for, NOWHERE at others.

    >>> at_places(np.array([[5, 6]]), np.array([[-1, 0, -1, 1]])).tolist()
    [[-1, 5, -1, 6]]
    """
    if labels.ndim != 2:
        return np.where(places == NOWHERE, NOT_ASKED, 0).astype(np.int32)
    flat = np.maximum(places, 0).reshape(len(places), -1)
    found = np.take_along_axis(labels, flat, axis=1).reshape(places.shape)
    return np.where(places == NOWHERE, NOT_ASKED, found).astype(np.int32)
