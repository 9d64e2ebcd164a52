"""One input without a label, or why it could not be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Item:
    """An input, before it is decoded or tokenised."""

    id: str
    """As a data set of a run calls it: `cats/1.jpg`, `test.csv:7`, `000007`."""
    value: Any
    """The path of an image file, an array (H, W[, C]), a text, or several texts."""
    label: float = 0
    """What its kind of labels tells of the input alone (`LabelKind.label_of`)."""
    size: tuple[int, int] | None = None
    """Height and width of an image that was brought to another size; None where nobody asks."""


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """An input that is left out."""

    id: str
    reason: str
    """For people, on one line."""


Found = Item | Unreadable


def unicode_fault(value: str | Iterable[str]) -> str:
    r"""Why a text, or one of several, is no valid Unicode; '' if all are.

    >>> unicode_fault('caf\u00e9'), unicode_fault(['a', '\ud800'])
    ('', 'is no valid Unicode (surrogates not allowed)')
    """
    try:
        (value if isinstance(value, str) else ''.join(value)).encode()
    except UnicodeEncodeError as error:
        return f'is no valid Unicode ({error.reason})'
    return ''
