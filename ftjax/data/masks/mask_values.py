"""Which class each value of a mask file means: indices, or colours of a palette."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftjax.errors import UserError, shown

if TYPE_CHECKING:
    from jaxtyping import UInt8

NOT_COUNTED = 255
"""What stands in a mask for a pixel that is not looked at, in training or in a metric."""
MOST = 255
"""Classes of a mask, at most: a byte a pixel, of which one value is NOT_COUNTED."""
_COLOUR = re.compile(r'#[0-9a-fA-F]{6}')


@dataclasses.dataclass(frozen=True)
class MaskValues:
    """How the pixels of mask files become classes.

    Values are classes in order, without the ignored one: where 0 is ignored, 1 is the first class.
    """

    classes: int
    ignored: int | None = NOT_COUNTED
    """The value that means no class; None for none."""
    palette: tuple[str, ...] = ()
    """'#rrggbb' of each class, for masks that are pictures in colour."""

    @property
    def values(self) -> list[int]:
        """The value of each class."""
        return [v for v in range(self.classes + 1) if v != self.ignored][: self.classes]

    def of_values(self, values: UInt8[np.ndarray, 'rows columns'], where: str) -> np.ndarray:
        """Classes of a mask of values; UserError naming the first pixel of an unknown one."""
        known = np.full(256, -1)
        known[self.values] = np.arange(self.classes)
        if self.ignored is not None:
            known[self.ignored] = NOT_COUNTED
        found = known[values]
        if (found < 0).any():
            row, column = np.argwhere(found < 0)[0]
            raise UserError(
                f'{where}: the value {values[row, column]} of row {row}, column {column} is no '
                f'class; expected {self._expected()}'
            )
        return found.astype(np.uint8)

    def of_colours(self, colours: UInt8[np.ndarray, 'rows columns 3'], where: str) -> np.ndarray:
        """Classes of a mask in colour; UserError naming the first colour that is in no palette."""
        known = {colour.lower(): number for number, colour in enumerate(self.palette)}
        packed = colours.astype(np.int32) @ np.array([65536, 256, 1])
        there, places = np.unique(packed, return_inverse=True)
        found = np.zeros(len(there), np.uint8)
        for number, value in enumerate(there):
            colour = f'#{value:06x}'
            if colour not in known:
                row, column = np.argwhere(packed == value)[0]
                raise UserError(
                    f'{where}: the colour {colour} of row {row}, column {column} is none of '
                    f'data.palette, {shown(list(self.palette))}'
                )
            found[number] = known[colour]
        return found[places.reshape(packed.shape)]

    def _expected(self) -> str:
        values = self.values
        said = f'{values[0]} to {values[-1]}'
        return said if self.ignored is None else f'{said}, or data.ignore_index {self.ignored}'


def check_palette(palette: Sequence[str]) -> None:
    """UserError unless each entry is a colour, '#ff8000', and no two are the same."""
    for colour in palette:
        if not _COLOUR.fullmatch(colour):
            raise UserError(f"data.palette holds {shown(colour)}; expected colours as '#ff8000'")
    if len({colour.lower() for colour in palette}) < len(palette):
        raise UserError('data.palette holds a colour twice')
