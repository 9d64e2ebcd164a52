"""Text files as people have them: encodings, byte-order marks, line ends."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
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

LONGEST_LINE = 2**26
"""Characters of a line of a file that is read line by line."""


def read_text(path: Path, encoding: str) -> str:
    """A whole file as text; a byte-order mark decides over data.encoding's default.

    Raises:
      UserError: naming the line that the encoding does not fit.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    used = _used(data, encoding)
    try:
        text = data.decode(used)
    except UnicodeError as error:
        start = getattr(error, 'start', 0)
        line = data.count(b'\n', 0, start) + 1
        raise UserError(
            f'{path} line {line}: byte 0x{data[start]:02x} is not {used}; set data.encoding '
            "(older Western files are 'latin-1')"
        ) from error
    _check_zeros(path, text)
    return text


def stream_lines(path: Path, encoding: str, newline: str = '\n') -> Iterator[str]:
    r"""The lines of a file with their ends, one after the other: never the whole file at once.

    Args:
      path: of the file.
      encoding: data.encoding.
      newline: as of `open`: what ends a line; '\n' becomes '\r' in a file that has no other.

    Raises:
      UserError: as `read_text`; or a line is longer than any text.
    """
    number, used = 0, encoding
    try:
        with open(path, 'rb') as file:
            start = file.read(2**16)
        used = _used(start, encoding)
        if newline == '\n' and b'\n' not in start and b'\r' in start:
            newline = '\r'
        with open(path, encoding=used, newline=newline) as file:
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if number == 1:
                    _check_zeros(path, line)
                if len(line) > LONGEST_LINE:
                    raise UserError(f'{path} line {number}: more than {LONGEST_LINE:,} characters')
                yield line
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    except UnicodeError as error:
        raise UserError(
            f'{path} after line {number}: a byte is not {used}; set data.encoding (older Western '
            "files are 'latin-1')"
        ) from error


def _used(data: bytes, encoding: str) -> str:
    """The encoding of a file that begins so."""
    try:
        ' '.encode(encoding)
    except LookupError:
        raise UserError(f"data.encoding {encoding!r} is unknown; 'utf-8' or 'latin-1'?") from None
    if encoding.lower() not in ('utf-8', 'utf8'):
        return encoding
    # The mark would otherwise become part of the first column's name, or be no UTF-8.
    return next((name for mark, name in _MARKS if data.startswith(mark)), 'utf-8')


def _check_zeros(path: Path, text: str) -> None:
    if '\0' in text[:200]:
        raise UserError(
            f"{path} line 1: holds zero bytes, as UTF-16 does; set data.encoding='utf-16-le' "
            "(or 'utf-16-be')"
        )


def lines_of(text: str) -> list[str]:
    """The lines without their ends.

    Only a line feed ends one, since texts may hold other characters that splitlines would
    break at; a carriage return alone does where there is no line feed at all.
    """
    if '\n' not in text and '\r' in text:
        return text.split('\r')
    return [line.rstrip('\r') for line in text.split('\n')]
