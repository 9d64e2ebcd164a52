"""Labels that are values: one finite number an example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.data.labels.label_kind import LabelKind, Where
from ftjax.errors import UserError


class Values(LabelKind):
    """float32 (N,), no classes; the network gives one number an example."""

    standardised = scaled = True

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Each label as a number."""
        values = [_number(value, where, row) for row, value in enumerate(raw)]
        return np.array(values, np.float32), ()

    def outputs(self, class_names: Sequence[str]) -> int:
        """One."""
        return 1

    def summary(self, labels: np.ndarray) -> str:
        """Their range."""
        return f', values {labels.min():g} .. {labels.max():g}'


def _number(value: Any, where: Where, row: int) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f'{where(row)}: label {value!r} is no finite number; regression needs one')
    return number
