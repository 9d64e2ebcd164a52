"""Batches along a new leading axis; those of texts are brought to one shape first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.data.text.token_masking import NOT_ASKED
from ftjax.preprocessing.texts import TextPreprocessing

if TYPE_CHECKING:
    from ftjax.preprocessing.images import Preprocessing


def stacked(
    batches: Sequence[Mapping[str, Any]],
    preprocessing: Preprocessing | TextPreprocessing | None = None,
) -> dict[str, object]:
    """Batches along a new leading axis, for a program that loops over them.

    Token batches of several lengths are padded to the longest of them first, and to as many
    windows; those of `TrainStream.in_runs` have one shape already.

    Args:
      batches: of one size; arrays or dicts of arrays.
      preprocessing: the network's; gives the id of padding.

    >>> tokens = [{'inputs': {'input_ids': np.ones((2, n), np.int32)}} for n in (4, 8)]
    >>> stacked(tokens)['inputs']['input_ids'].shape
    (2, 2, 8)
    """
    inputs = batches[0].get('inputs')
    if isinstance(inputs, Mapping) and 'input_ids' in inputs:
        shapes = [np.shape(batch['inputs']['input_ids']) for batch in batches]
        if len(set(shapes)) > 1:
            pad = preprocessing.pad_id if isinstance(preprocessing, TextPreprocessing) else 0
            # A text of one row is one window, where others are several.
            windows = max((shape[1] for shape in shapes if len(shape) > 2), default=None)
            rows, length = max(shape[0] for shape in shapes), max(shape[-1] for shape in shapes)
            batches = [_widened(batch, rows, windows, length, pad) for batch in batches]
    return _stack(batches)


def _widened(
    batch: Mapping[str, Any], rows: int, windows: int | None, length: int, pad: int
) -> dict[str, Any]:
    """A batch whose arrays of tokens, labels of tokens among them, have one shape.

    Packed texts may be fewer rows than in another batch: rows of padding follow.
    """
    shape = np.shape(batch['inputs']['input_ids'])
    fill = {'input_ids': pad, 'labels': NOT_ASKED, 'targets': NOT_ASKED}

    def wide(name: str, array: Any) -> Any:
        if np.shape(array)[: len(shape)] != shape:
            return array
        inserted = windows is not None and len(shape) == 2
        array, at = (array[:, None] if inserted else array), len(shape) - 1 + inserted
        more = [(0, 0)] * array.ndim
        more[0] = (0, rows - array.shape[0])
        more[at] = (0, length - array.shape[at])
        if windows is not None:
            more[1] = (0, windows - array.shape[1])
        found = np.pad(array, more, constant_values=fill.get(name, 0))
        if name == 'attention_mask' and windows is not None:
            found[:, array.shape[1] :, 0] = 1  # attention has something to look at
        return found

    inputs = {name: wide(name, array) for name, array in batch['inputs'].items()}
    # Labels are of tokens where the mask is: others have that shape by chance alone.
    if 'mask' not in batch or np.shape(batch['mask']) != shape:
        return {**batch, 'inputs': inputs}
    return {**{name: wide(name, array) for name, array in batch.items()}, 'inputs': inputs}


def _stack(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        return {key: _stack([value[key] for value in values]) for key in values[0]}
    return np.stack(values)
