"""Text files as people have them: encodings, byte-order marks, line ends."""

from __future__ import annotations

import codecs
from pathlib import Path

from ftjax.errors import UserError

# The marks of UTF-32 begin with those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)


def read_text(path: Path, encoding: str) -> str:
    """A whole file as text; a byte-order mark decides over data.encoding's default.

    Raises:
      UserError: naming the line that the encoding does not fit.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    used = encoding
    if encoding.lower() in ('utf-8', 'utf8'):
        # The mark would otherwise become part of the first column's name, or be no UTF-8.
        used = next((name for mark, name in _MARKS if data.startswith(mark)), 'utf-8')
    try:
        text = data.decode(used)
    except LookupError:
        raise UserError(f"data.encoding {encoding!r} is unknown; 'utf-8' or 'latin-1'?") from None
    except UnicodeError as error:
        start = getattr(error, 'start', 0)
        line = data.count(b'\n', 0, start) + 1
        raise UserError(
            f'{path} line {line}: byte 0x{data[start]:02x} is not {used}; set data.encoding '
            "(older Western files are 'latin-1')"
        ) from error
    if '\0' in text[:200]:
        raise UserError(
            f"{path} line 1: holds zero bytes, as UTF-16 does; set data.encoding='utf-16-le' "
            "(or 'utf-16-be')"
        )
    return text


def lines_of(text: str) -> list[str]:
    """The lines without their ends.

    Only a line feed ends one, since texts may hold other characters that splitlines would
    break at; a carriage return alone does where there is no line feed at all.
    """
    if '\n' not in text and '\r' in text:
        return text.split('\r')
    return [line.rstrip('\r') for line in text.split('\n')]
