"""Names of what ablations pass on: one row a run, and what summary.json holds of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
"""One run, as runs.jsonl has it: `arm`, `rate`, `seed`, `status`, `val`, `test`, .."""

Rows = Sequence[Row]

OwnRow = dict[str, Any]
"""A row that is being made."""

RowList = list[OwnRow]

Summary = Mapping[str, Any]
"""summary.json, or a part of it: of a task, of an arm."""
