"""The fields of a cell's row: plain numbers of what a run gave back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def finished_fields(
    validation: Mapping[str, float],
    metrics: Mapping[str, Any],
    shifts: Mapping[str, Mapping[str, float]],
    **others: Any,
) -> dict[str, Any]:
    """Fields of a run that has finished.

    Args:
      validation: of the weights that the run ends with; `score` is left out.
      metrics: of the test split.
      shifts: metrics of further test sets, by name; left out where there are none.
      **others: as they are.
    """
    return {
        'status': 'ok',
        'val': {name: value for name, value in validation.items() if name != 'score'},
        'test': numbers_of(metrics),
        **({'shifts': dict(shifts)} if shifts else {}),
        **others,
    }


def numbers_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are single numbers."""
    return {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
