"""Image files are opened before training, so that a broken one is found before the first step."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ftjax.data.images.decode import opened
from ftjax.data.images.modes import (
    REAL,
    UPPER,
    WHOLE,
    Whites,
    deep_kind,
    largest,
    white_of_real,
    white_of_whole,
)
from ftjax.data.images.thumbnails import thumbnail
from ftjax.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

DECODE_UP_TO = 2_000
"""`auto` decodes all files of a set up to this size (about 2 ms each), else reads headers."""

_MANY_PICTURES = ('GIF', 'PNG', 'WEBP', 'AVIF', 'TIFF')
_DARK = 64  # of 256: 16 bits a channel that hold 14 bits at most


@dataclasses.dataclass(frozen=True)
class Found:
    """What is to be known of a set of image files before any is read for training."""

    whites: Whites | None = None
    """What is white in files of more than 8 bits; None where there are none."""
    notes: tuple[str, ...] = ()
    """Sentences on how files are read that could be read otherwise."""


@dataclasses.dataclass(frozen=True)
class _Look:
    broken: str = ''
    deep: str = ''
    top: float = 0.0
    several: bool = False


def verify_images(paths: Sequence[str], how: str = 'auto') -> Found:
    """Checks every file's header, and with `decode` its pixels as well.

    A file cut short has a good header: only decoding finds it, here or when it is trained on.
    Files of more than 8 bits a pixel are always decoded: what counts as white in them is
    decided by the largest value of all of them.

    Raises:
      UserError: naming the first broken file, and how many there are.
    """
    whole = how == 'decode' or (how == 'auto' and len(paths) <= DECODE_UP_TO)
    with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool:
        looks = list(pool.map(functools.partial(_look, whole=whole), paths))
    broken = [look.broken for look in looks if look.broken]
    if broken:
        more = f' [and {len(broken) - 1} more broken files]' if len(broken) > 1 else ''
        raise UserError(broken[0] + more)
    tops = {
        kind: max((look.top for look in looks if look.deep == kind), default=None)
        for kind in (WHOLE, REAL, UPPER)
    }
    if tops[UPPER] is not None and tops[UPPER] < _DARK:
        first = next(p for p, look in zip(paths, looks, strict=True) if look.deep == UPPER)
        raise UserError(
            f'{first}: has 16 bits a channel, of which the upper 8 are read, and no such file '
            f'reaches more than {tops[UPPER]:g} of 255 there; convert them to 8 bits'
        )
    whites = Whites(
        whole=None if tops[WHOLE] is None else white_of_whole(tops[WHOLE]),
        real=None if tops[REAL] is None else white_of_real(tops[REAL]),
    )
    counts = collections.Counter(look.deep for look in looks)
    return Found(
        whites if whites != Whites() else None,
        (
            *_deep_note(counts[WHOLE], tops[WHOLE], whites.whole, 'more than 8 bits a pixel'),
            *_deep_note(counts[REAL], tops[REAL], whites.real, 'floats as pixels'),
            *_several_note(sum(look.several for look in looks)),
        ),
    )


def _deep_note(count: int, top: float | None, white: float | None, what: str) -> list[str]:
    if not count:
        return []
    files = f'{count:,} image files hold' if count > 1 else '1 image file holds'
    return [f'{files} {what}: the largest is {top:g}, and {white:g} is read as white']


def _several_note(count: int) -> list[str]:
    if not count:
        return []
    files = f'{count:,} image files are' if count > 1 else '1 image file is'
    return [f'{files} animated or of several pages: the first picture is read']


def _look(path: str, whole: bool) -> _Look:
    try:
        with opened(path, path) as image:
            deep, top, several = deep_kind(image), 0.0, _several(image)
            if deep:
                image.load()
                top = largest(image, path)
        if whole:
            thumbnail(path)
    except UserError as error:
        return _Look(str(error))
    return _Look(deep=deep, top=top, several=several)


def _several(image: Image.Image) -> bool:
    try:
        return image.format in _MANY_PICTURES and bool(getattr(image, 'is_animated', False))
    except Exception:  # a second picture cut short does not spoil the first
        return False
