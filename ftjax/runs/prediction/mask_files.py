"""Masks that a network answers new images with, written as PNG files at the images' own size."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ftjax.data.images.decode import SUFFIXES
from ftjax.data.masks.indexed_png import indexed_png
from ftjax.data.masks.palette import colours
from ftjax.data.masks.tiles import in_own_size
from ftjax.data.settings import DataSettings
from ftjax.data.unlabelled.chunks import Failed
from ftjax.data.unlabelled.inputs import read_inputs
from ftjax.data.unlabelled.items import Unreadable
from ftjax.data.user_paths import inside
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import check_finite
from ftjax.evaluation.sliding import stitched, window_batches
from ftjax.io.files.whole_folder import whole_folder
from ftjax.runs.prediction.new_inputs import Outputs, outputs_of_source
from ftjax.runs.prediction.prediction_files import Written, failures, shown, written
from ftjax.runs.prediction.trained import Trained


def write_masks(
    trained: Trained, source: str, output: pathlib.Path, progress: bool = True, **how: Any
) -> Written:
    """Writes an indexed PNG an image into a new folder; see `outputs_of_source` for `how`.

    Values are class indices and colours those of data.palette: `masks:` reads them back. A file is
    called as its image, and by the whole name where two images differ in their endings alone.

    Raises:
      UserError: the network gives no masks, nothing could be read, the folder is not empty.
    """
    if not trained.network.is_dense:
        raise UserError(
            f'{output}: {trained.init} answers each input as a whole; its answers are written to a '
            '.csv or .jsonl file'
        )
    table = colours(trained.network.num_classes, trained.settings.palette)
    rows, taken = 0, set()
    with failures(source, output) as failed, whole_folder(output) as folder:
        answered = slid if trained.settings.sliding is not None else of_whole_images
        for part in shown(answered(trained, source, failed, **how), source, progress):
            for name, logits, size in zip(part.ids, part.values, part.sizes, strict=True):
                short = f'{without_ending(name)}.png'
                short = f'{name}.png' if short in taken else short
                taken.add(short)
                path = inside(folder, short, 'the name of an input')
                path.parent.mkdir(parents=True, exist_ok=True)
                assert size is not None  # asked for by `Trained.reading`
                path.write_bytes(indexed_png(trained.task.mask(logits, size), table))
            rows += len(part.ids)
        return written(rows, failed, source)


def without_ending(name: str) -> str:
    """The name of an input without the ending of an image; rows and arrays have none.

    >>> without_ending('ants/1.jpeg'), without_ending('test.csv:2'), without_ending('scan.001')
    ('ants/1', 'test.csv:2', 'scan.001')
    """
    is_image = name.lower().endswith(SUFFIXES)
    return str(pathlib.PurePosixPath(name).with_suffix('')) if is_image else name


def of_whole_images(trained: Trained, source: str, failed: Failed, **how: Any) -> Iterator[Outputs]:
    """Outputs on images that are brought to the network's size."""
    return outputs_of_source(trained, source, failed, **how)


def slid(
    trained: Trained,
    source: str,
    failed: Failed,
    *,
    settings: DataSettings | None = None,
    batch_size: int | None = None,
    mirrored: bool = False,
) -> Iterator[Outputs]:
    """Logits of each pixel of images in their own size, one image after the other."""
    settings = settings or trained.settings
    window, overlap, size = settings.image_size, settings.sliding, batch_size
    assert window is not None and overlap is not None
    if mirrored:
        raise UserError('test-time augmentation is not for images that windows slide over')
    seen, names = trained.preprocessing, []
    channels, shown = getattr(seen, 'channels', 3), getattr(seen, 'window', None)

    def images() -> Iterator[np.ndarray]:
        for item in read_inputs(source, settings, texts=False):
            if isinstance(item, Unreadable):
                failed(item)
                continue
            try:
                grey = settings.channels == 1
                image = in_own_size(item.value, channels, grey, trained.whites, shown=shown)
            except UserError as error:
                failed(Unreadable(item.id, str(error)))
                continue
            names.append(item.id)
            yield image

    batches = window_batches(images(), window, overlap, size or settings.eval_batch_size)
    pairs = predict(trained.network, trained.placed, batches, trained.preprocessing)
    for number, logits in stitched(pairs, window):
        check_finite(logits[None])
        yield Outputs([names[number]], logits[None], sizes=[logits.shape[:2]])
