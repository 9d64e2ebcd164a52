"""A look at image files before training, so that a broken one is found now and not at night."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ftjax.data.geometry import Geometry
from ftjax.data.images import check_header, decode
from ftjax.errors import UserError

DECODE_UP_TO = 2_000
"""`auto` decodes all files of a set up to this size (about 2 ms each), else reads headers."""

# Small on purpose: a JPEG is then unpacked at 1/8, which still reads all of its bytes.
_TINY = Geometry(height=8, width=8, channels=3)


def verify_images(paths: Sequence[str], how: str = 'auto') -> None:
    """Checks every file's header, and with `decode` its pixels as well.

    A file cut short has a good header: only decoding finds it, here or when it is trained on.

    Raises:
      UserError: naming the first broken file, and how many there are.
    """
    whole = how == 'decode' or (how == 'auto' and len(paths) <= DECODE_UP_TO)
    with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool:
        found = list(pool.map(_decodes if whole else _opens, paths))
    broken = [message for message in found if message]
    if broken:
        more = f' [and {len(broken) - 1} more broken files]' if len(broken) > 1 else ''
        raise UserError(broken[0] + more)


def _opens(path: str) -> str:
    try:
        check_header(path)
    except UserError as error:
        return str(error)
    return ''


def _decodes(path: str) -> str:
    try:
        decode(path, _TINY)
    except UserError as error:
        return str(error)
    return ''
