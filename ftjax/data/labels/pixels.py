"""Labels that are masks: a class for each pixel of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ftjax.data.augmentation import Parsed
from ftjax.data.images.joint import check_joint
from ftjax.data.labels.label_kind import LabelKind, Where
from ftjax.data.masks.mask import Mask, MaskFile, MaskPixels, masks
from ftjax.data.masks.mask_values import MOST, NOT_COUNTED, MaskValues
from ftjax.data.masks.sized_masks import SizedMasks
from ftjax.errors import UserError
from ftjax.io.files.file_hashes import file_hashes


class PixelClasses(LabelKind):
    """An object array (N,) of masks; in a batch uint8 (B, height, width), at the images' size.

    Pixels of NOT_COUNTED count for nothing.
    """

    dtype, named, several = object, True, False
    head = 'dense'
    moves = True

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """A cell of a table is no mask."""
        raise UserError(f'{where(0)}: masks are read from masks:FOLDER, or from arrays in npz:FILE')

    def read_arrays(
        self,
        raw: Mapping[str, np.ndarray],
        where: Callable[[str], str],
        names: tuple[str, ...],
        ignored: int | None = None,
    ) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
        """From whole numbers (N, height, width), with the meaning that they have in mask files."""
        blank = ''
        if ignored is not None:
            blank = f', and data.ignore_index ({ignored}) for pixels that count for nothing'
        for part, values in raw.items():
            whole = values.dtype.kind in 'biu' and values.ndim == 3
            if not whole or (values.size and not 0 <= values.min() <= values.max() <= 255):
                raise UserError(
                    f'{where(part)}: masks are {values.dtype} {values.shape}; expected whole '
                    f'numbers (N, height, width) from 0 to {NOT_COUNTED}{blank}'
                )
        if not names:
            every = [values[values != ignored] for values in raw.values()]
            highest = max((int(values.max()) for values in every if values.size), default=-1)
            names = tuple(str(number) for number in range(highest + 1) if number != ignored)
        coding = MaskValues(len(names), ignored)

        def mask(values: np.ndarray, part: str, number: int) -> MaskPixels:
            return MaskPixels(coding.of_values(values.astype(np.uint8), f'{where(part)}[{number}]'))

        return names, {
            part: masks([mask(each, part, number) for number, each in enumerate(values)])
            for part, values in raw.items()
        }

    def rows(self, raw: np.ndarray) -> np.ndarray:
        """As it is."""
        return raw

    def check(self, name: str, labels: np.ndarray, classes: int) -> None:
        """Masks, of at least two classes."""
        if not all(isinstance(each, Mask) for each in labels.reshape(-1)):
            raise UserError(f'{name}: labels are no masks (ftjax.data.masks.mask.Mask)')
        if len(labels) and not 2 <= classes <= MOST:
            raise UserError(
                f'{name}: {classes} classes; masks tell 2 to {MOST} of them apart, and pixels of '
                'data.ignore_index count for nothing: in masks of 0 and 255 write 1 for 255'
            )

    def of_inputs(self, inputs: Any, labels: np.ndarray, where: Where) -> np.ndarray:
        """The masks, each of its image's size."""
        for number, each in enumerate(labels):
            size = inputs[number].shape[:2]
            if each.read().shape != size:
                raise UserError(
                    f'{where(number)}: the mask is {told_size(each.read().shape)} and its image '
                    f'{told_size(size)}; expected the same'
                )
        return labels

    def check_training(self, name: str, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
        """Two classes or more occur; masks are read until they do."""
        seen, pixels, ignored = set(), 0, 0
        for each in labels:
            values, counts = np.unique(each.read(), return_counts=True)
            seen |= {int(value) for value in values} - {NOT_COUNTED}
            pixels += int(counts.sum())
            ignored += int(counts[values == NOT_COUNTED].sum())
            if len(seen) > 1:
                return
        if len(labels):
            told = class_names[seen.pop()] if seen else 'none'
            raise UserError(
                f'{name}: its masks hold one class only ({told!r}), and {ignored / pixels:.0%} of '
                'their pixels count for nothing (data.ignore_index, or a value of no class); '
                'expected two classes or more: in masks of 0 and 255 write 1 for 255'
            )

    def check_augmentation(self, terms: Parsed) -> None:
        """Only augmentations of which is known how they move pixels."""
        check_joint(terms)

    def hashed(self, labels: np.ndarray) -> Iterator[bytes | np.ndarray]:
        """Pixels, or the files' bytes and what their values mean."""
        files = [each for each in labels if isinstance(each, MaskFile)]
        if len(files) < len(labels):
            for each in labels:
                yield repr(each.read().shape).encode()
                yield np.ascontiguousarray(each.read())
            return
        for coding in dict.fromkeys(each.values for each in files):
            yield repr(coding).encode()
        yield from (found.encode() for found in file_hashes([each.path for each in files]))

    def of_batches(self, labels: np.ndarray, size: tuple[int, int] | None) -> Any:
        """The masks at the size of the images that a network gets."""
        assert size is not None  # of images, which alone have masks
        return SizedMasks(labels, size)

    def of_evaluation(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """The masks themselves, of their own size: metrics are of these."""
        return {'masks': labels}

    def shapes(self, examples: int, outputs: int, inputs: Any) -> tuple[Any, Any]:
        """A label a pixel; a mask of the batch an example."""
        each = (examples, *inputs.shape[1:3])
        mask = jax.ShapeDtypeStruct((examples,), np.float32)
        return jax.ShapeDtypeStruct(each, np.uint8), mask

    def summary(self, labels: np.ndarray) -> str:
        """What the labels are."""
        return ', a class for each pixel'

    def told(self, label: Any, class_names: Sequence[str]) -> str:
        """The classes that a mask holds."""
        return ', '.join(class_names[v] for v in np.unique(label.read()) if v != NOT_COUNTED)


def told_size(shape: Sequence[int]) -> str:
    """`480 x 640 pixels` of (rows, columns)."""
    return f'{shape[0]} x {shape[1]} pixels'
