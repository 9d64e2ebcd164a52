"""Images answered at their own size: by windows of the network's, whose answers are averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.data import Dataset
from ftjax.data.masks.tiles import corners, cut, native
from ftjax.data.settings import DataSettings
from ftjax.distributed import process_group
from ftjax.distributed.sharding import Sharding
from ftjax.evaluation.own_answers import own_outputs
from ftjax.evaluation.own_pairs import OwnPairs, Pairs
from ftjax.evaluation.predict import Forward, predict
from ftjax.evaluation.stitched_logits import StitchedLogits
from ftjax.models.stages import Network
from ftjax.pytrees import Variables

if TYPE_CHECKING:
    from ftjax.preprocessing.images import Preprocessing
    from ftjax.preprocessing.texts import TextPreprocessing

Answered = Iterable[tuple[np.ndarray, dict[str, Any]]]


def window_batches(
    images: Iterable[np.ndarray], window: tuple[int, int], overlap: float, size: int
) -> Iterator[dict[str, Any]]:
    """Batches of windows, image after image; the last one is padded.

    Each holds 'inputs' (size, rows, columns, channels), 'index' (the number of the image), 'mask',
    'corner' (size, 2) and 'whole' (size, 2), the height and width of the image.
    """
    waiting: list[tuple[np.ndarray, int, tuple[int, int], tuple[int, int]]] = []

    def batch(some: list[Any]) -> dict[str, Any]:
        filled = [*some, *[some[0]] * (size - len(some))]
        inputs, index, corner, whole = zip(*filled, strict=True)
        mask = np.zeros(size, np.float32)
        mask[: len(some)] = 1
        return {
            'inputs': np.stack(inputs),
            'index': np.array(index, np.int32),
            'mask': mask,
            'corner': np.array(corner),
            'whole': np.array(whole),
        }

    for number, image in enumerate(images):
        for corner in corners(image.shape[:2], window, overlap):
            waiting.append((cut(image, corner, window), number, corner, image.shape[:2]))
            if len(waiting) == size:
                yield batch(waiting)
                waiting = []
    if waiting:
        yield batch(waiting)


def stitched(pairs: Answered, window: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """(number, logits (height, width, classes) float32) of each image, from those of its windows.

    Logits are brought to the window's size, and averaged where windows overlap. One image is held
    at a time.
    """
    present, whole = -1, None
    for outputs, batch in pairs:
        for at in np.flatnonzero(batch['mask']):
            number, (height, width) = int(batch['index'][at]), batch['whole'][at]
            if number != present or whole is None:
                if whole is not None:
                    yield present, whole.logits
                present = number
                whole = StitchedLogits((int(height), int(width)), window, outputs.shape[-1])
            whole.add(batch['corner'][at], outputs[at])
    if whole is not None:
        yield present, whole.logits


def window_outputs(
    network: Network,
    variables: Variables,
    dataset: Dataset,
    settings: DataSettings,
    preprocessing: Preprocessing | TextPreprocessing | None,
    size: int,
    shared: bool,
) -> Pairs:
    """As `split_outputs`, of a split whose settings ask for windows, `size` a batch."""
    window, overlap = settings.image_size, settings.sliding
    assert window is not None and overlap is not None  # the settings have refused it
    channels = getattr(preprocessing, 'channels', None)
    shown = getattr(preprocessing, 'window', None)

    def windows_of(numbers: Iterable[int], size: int) -> Iterator[dict[str, Any]]:
        images = (native(dataset, number, channels, shown) for number in numbers)
        return window_batches(images, window, overlap, size)

    if not (shared and process_group.several()):
        pairs = predict(
            *(network, variables, windows_of(range(len(dataset)), size), preprocessing),
            tta=settings.tta,
        )
        return _whole_images(pairs, dataset, window, range(len(dataset)))
    where, mine = Sharding(), process_group.own_share(len(dataset))
    size += -size % where.devices
    run = Forward(network, preprocessing, None, where, tta=settings.tta)
    parts = _in_step(windows_of, mine, len(where.rows(size)))
    return OwnPairs(_whole_images(own_outputs(run, variables, parts, size), dataset, window, mine))


def _in_step(
    windows_of: Callable[[Iterable[int], int], Iterator[dict[str, Any]]],
    mine: Iterable[int],
    size: int,
) -> Iterator[tuple[dict[str, Any], int]]:
    """Batches of this process's windows, and how many of each are no padding.

    All processes get equally many: who has no more windows gets some of the first image, none of
    which counts.
    """
    own = windows_of(mine, size)
    while True:
        batch = next(own, None)
        if not process_group.largest(batch is not None):
            return
        if batch is None:
            yield next(windows_of([0], size)), 0
        else:
            yield batch, int(batch['mask'].sum())


def _whole_images(
    pairs: Answered, dataset: Dataset, window: tuple[int, int], numbers: Sequence[int]
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """(logits, batch) of one image after the other; `numbers` are their positions in the split."""
    for at, logits in stitched(pairs, window):
        number = numbers[at]
        label = dataset.labels[number : number + 1]
        batch = {'labels': label[0].read()[None], 'masks': label}
        batch |= {'mask': np.ones(1, np.float32), 'index': np.array([number], np.int32)}
        yield logits[None], batch
