"""A class for each pixel of an image, as an indexed PNG of the image's own size."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.masks.indexed_png import indexed_png
from ftjax.data.masks.palette import colours
from ftjax.errors import UserError
from ftjax.evaluation.pixel_answers import answered, class_shares
from ftjax.evaluation.predictions import softmax
from ftjax.evaluation.stitched_logits import StitchedLogits
from ftjax.serving.bundle.answer_forms.answer_form import (
    Answer,
    AnswerForm,
    Told,
    check_outputs_finite,
)
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.signature import FILE, Signature

PALETTE = 'palette'
"""In the signature's details: '#rrggbb' of each class."""
SLIDING = 'sliding'
"""There as well: how much windows overlap that slide over images; left out where none do."""
MOST = 2**27
"""Logits of the pixels of an image: 512 MiB."""
_COLOUR = re.compile('#[0-9a-f]{6}')


@dataclasses.dataclass(frozen=True)
class SizeOfImage:
    """What the answer has to know of an image."""

    size: tuple[int, int]
    """(height, width), as it came."""
    corners: tuple[tuple[int, int], ...] = ()
    """Of the window that each row is; () where the row is the whole image."""
    window: tuple[int, int] = (0, 0)


class MaskAnswers(AnswerForm):
    """Outputs are logits of positions, (rows, columns, classes) a row."""

    named = True
    gives = 'the class of each pixel as an indexed PNG, and the share of each class'

    def check(self, signature: Signature) -> None:
        """A colour for each class."""
        given = signature.details.get(PALETTE)
        good = isinstance(given, list) and len(given) == signature.outputs
        if not good or not all(isinstance(c, str) and _COLOUR.fullmatch(c) for c in given):
            raise UserError(f'{FILE}: {PALETTE} needs a colour (#rrggbb) for each class')
        overlap = signature.details.get(SLIDING, 0)
        if not isinstance(overlap, (int, float)) or not 0 <= overlap < 1:
            raise UserError(f'{FILE}: {SLIDING} is {overlap!r}; expected a share below 1')

    def answer(
        self, outputs: Sequence[np.ndarray], given: InputRows, signature: Signature
    ) -> Answer:
        """`predicted` (the classes that there are), `shares`, `probability` and `mask`.

        `shares` are of the positions that the network answers, `probability` is the mean of the
        probability of their classes; `mask` is `{'png': base64, 'size': [height, width]}`, whose
        values are the numbers of classes.

        Raises:
          UserError: an image with too many pixels for so many classes.
        """
        names = signature.class_names
        about = given.about or SizeOfImage(given.rows[0]['images'].shape[:2])
        if about.size[0] * about.size[1] * len(names) > MOST:
            raise UserError(
                f'the image has {about.size[0]} x {about.size[1]} pixels; with {len(names)} '
                f'classes at most {MOST // len(names):,} are answered'
            )
        logits = outputs[0]
        if about.corners:
            whole = StitchedLogits(about.size, about.window, len(names))
            for corner, window in zip(about.corners, outputs, strict=True):
                whole.add(corner, window)
            logits = whole.logits
        check_outputs_finite(logits)
        (shares,) = class_shares(logits[None])
        sure = softmax(logits.reshape(-1, len(names)).astype(np.float64)).max(axis=-1)
        table = colours(len(names), signature.details[PALETTE])
        png = indexed_png(answered(logits, about.size).astype(np.uint8), table)
        return {
            'predicted': [names[c] for c in np.flatnonzero(shares)],
            'shares': dict(zip(names, shares.tolist(), strict=True)),
            'probability': float(sure.mean()),
            'mask': {'png': base64.b64encode(png).decode(), 'size': list(about.size)},
        }

    def told(self, answer: Mapping[str, Any]) -> Told:
        """The classes that there are, and the mean probability."""
        classes = tuple(answer['predicted'])
        return Told('|'.join(classes), answer['probability'], classes, probable=True)
