"""Gates as a config gives them: sequences of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftjax.errors import UserError, shown


def fits_texts(given: object) -> bool:
    """Whether something is a sequence of texts."""
    return isinstance(given, (tuple, list)) and all(isinstance(word, str) for word in given)


def as_gates(given: Any, name: str) -> tuple[tuple[str, ...], ...]:
    """Sequences of texts as tuples; UserError for anything else."""
    for gate in given if isinstance(given, Sequence) else [given]:
        if not fits_texts(gate) or not gate:
            raise UserError(
                f'config.ablation.{name} holds {shown(gate)}; expected (rule, arm, ..), all texts'
            )
    return tuple(tuple(gate) for gate in given)
