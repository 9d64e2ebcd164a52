"""One raw input as a program takes it: a row, or several that are answered together."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

Example = dict[str, np.ndarray]
"""One row of a program's inputs, without the batch axis."""


@dataclasses.dataclass(frozen=True)
class InputRows:
    """A text with each of its choices, or the windows of a long one: a row each; else one row."""

    rows: tuple[Example, ...]
    about: Any = None
    """What the answer has to know of the input: its words, its size; what the form says."""
