"""Keys that are equal for the same input: of file bytes, of pixels, of a text without its dress."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.io.files.file_hashes import file_hashes

_PLAIN = re.compile(r'[a-z0-9]+(?: [a-z0-9]+)*')


class _Between(dict[int, str]):
    """What a character becomes: a space where it is the dress of a text, else itself.

    Combining marks are vowels in many scripts, and symbols (emoji, <, +) words of their own.
    """

    def __missing__(self, point: int) -> str:
        sign = chr(point)
        kind = unicodedata.category(sign)
        dress = kind[0] in 'PZ' or kind in ('Cc', 'Cf') or (kind == 'Sk' and point < 0x300)
        self[point] = '' if 0xFE00 <= point <= 0xFE0F else ' ' if dress else sign
        return self[point]


_BETWEEN = _Between()
_MINUS = re.compile(r'(?<!\w)-(?=\d)')


def content_keys(dataset: Dataset) -> list[bytes | str] | None:
    """One of each example, equal for the same input; None where inputs would have to be read.

    Image files are compared by their hashes, which the fingerprint of the data needs too, texts as
    `normalised`, arrays by shape, dtype and bytes, records of TFDS by their encoded bytes,
    rows of a table by their cells.

    Raises:
      UserError: for a file that cannot be read.
    """
    if dataset.kind == 'image_file':
        return list(file_hashes(dataset.inputs))
    if dataset.kind == 'tfds':
        return dataset.inputs.keys
    if dataset.kind == 'text':
        return [text_key(text) for text in dataset.inputs]
    if dataset.kind == 'table':
        return list(dataset.inputs.rows)
    inputs = np.ascontiguousarray(dataset.inputs)
    head = f'{inputs.shape[1:]} {inputs.dtype.str} '.encode()
    return [head + hashlib.blake2b(each, digest_size=16).digest() for each in inputs]


def text_key(text: str | np.ndarray) -> str:
    """The key of a text, or of a pair of texts."""
    return normalised(text) if isinstance(text, str) else '\n'.join(map(normalised, text))


def normalised(text: str) -> str:
    """A text without case, punctuation, spacing and compatible forms (Unicode NFKC).

    Vowel signs, emoji and symbols stay. A text of punctuation alone is kept as it is.

    >>> normalised('  Good\u00a0film, \uff21!'), normalised(':-)')
    ('good film a', ':-)')
    """
    if _PLAIN.fullmatch(text):  # most rows of benchmarks are, and this is ten times quicker
        return text
    folded = unicodedata.normalize('NFKC', text).casefold()
    folded = _MINUS.sub('\u2212', folded)  # a sign of mathematics, which is kept
    return ' '.join(folded.translate(_BETWEEN).split()) or folded.strip()
