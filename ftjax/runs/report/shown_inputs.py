"""Inputs as people look at them: a picture as the network sees it, or the beginning of a text."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ftjax.data import Dataset, eval_batches
from ftjax.data.images.decode import opened
from ftjax.data.streams.loader import Loader
from ftjax.evaluation.predict import predict
from ftjax.pages.elements import data_address
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Variables
from ftjax.runs.prepare import Prepared
from ftjax.tasks import task_of

LETTERS = 500
"""Of a text, as many as are shown."""
_SIDE = 192
"""Pixels of the longer side of a picture, at most."""
_FILES = 5_000
"""Image files whose headers are read for their sizes, at most."""


class InputPictures:
    """Shows examples of a split by their positions."""

    def __init__(self, dataset: Dataset, prepared: Prepared):
        self.dataset = dataset
        self._loader: Loader | None = None
        self._prepared = prepared

    def of(self, index: int) -> dict[str, Any]:
        """`picture` (an address that holds it), or `texts`; a row of a table is one."""
        if self.dataset.kind == 'text':
            given = self.dataset.inputs[index]
            texts = [given] if isinstance(given, str) else list(given)
            return {'texts': [t if len(t) <= LETTERS else t[:LETTERS] + ' …' for t in texts]}
        if self.dataset.kind == 'table':
            return {'texts': [self.dataset.inputs.told(index)]}
        if self._loader is None:
            preprocessing = self._prepared.preprocessing
            assert not isinstance(preprocessing, TextPreprocessing)
            size = self._prepared.config.data.image_size
            self._loader = Loader(self.dataset, size, preprocessing, cache_bytes=0)
        return {'picture': picture(self._loader.example(index))}

    def answered(self, places: Sequence[int], variables: Variables) -> list[dict[str, Any]]:
        """As `of`, of several: with what is right and what a network with these weights answers."""
        config, preprocessing = self._prepared.config.data, self._prepared.preprocessing
        task, part = task_of(self.dataset.task), self.dataset.take(places)
        batches = eval_batches(part, config.eval_batch_size, config.image_size, preprocessing)
        found: dict[int, dict[str, Any]] = {}
        for outputs, batch in predict(self._prepared.network, variables, batches, preprocessing):
            for at in np.flatnonzero(batch['mask']):
                given = batch['inputs'][at], outputs[at], batch['labels'][at]
                drawn = task.drawn(*given, config.palette)
                found[int(batch['index'][at])] = {'picture': picture(drawn, 2 * _SIDE)}
        return [found[place] for place in range(len(part))]


def picture(pixels: np.ndarray, side: int = _SIDE) -> str:
    """An address that holds an image (height, width, channels), uint8 or float in 0..1.

    It is made smaller where its longer side is more than `side` pixels.
    """
    from PIL import Image

    if pixels.dtype != np.uint8:
        pixels = np.rint(255 * np.clip(np.nan_to_num(pixels), 0, 1)).astype(np.uint8)
    shown = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0]
    image = Image.fromarray(np.ascontiguousarray(shown))
    small = max(image.size) <= side // 3
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    # Small pictures keep every pixel; of photographs nobody sees the difference.
    image.save(buffer, 'PNG' if small else 'JPEG', quality=85)
    return data_address(buffer.getvalue(), 'image/png' if small else 'image/jpeg')


def input_sizes(dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """What is known of the size of each input (N,), with its name and unit."""
    if dataset.kind == 'text':
        texts = dataset.inputs.reshape(len(dataset), -1)
        yield 'length in words', np.array([sum(len(t.split()) for t in row) for row in texts])
    elif dataset.kind == 'image_file' and len(dataset) <= _FILES:
        sides = []
        for path in dataset.inputs:
            with opened(path, path) as image:
                sides.append(max(image.size))
        yield 'longer side in pixels', np.array(sides)
