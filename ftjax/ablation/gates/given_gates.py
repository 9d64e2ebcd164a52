"""Gates and groups as a config gives them: sequences of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.ablation.gates.gates import check_gates
from ftjax.errors import UserError, check_name, shown


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


def check_groups(settings: Mapping[str, Any]) -> None:
    """UserError for a group of tasks or further test sets, or a gate of one, that cannot be.

    Args:
      settings: the fields of an ablation.
    """
    groups, tasks = settings['groups'], settings['tasks']
    for group, names in groups.items():
        if not names or not fits_texts(names):
            raise UserError(
                f'config.ablation.groups: {shown(group)} is {shown(names)}; expected names of '
                "further test sets, ('noisy',)"
            )
        known = tasks if names[0] in tasks else settings['also_evaluate']
        for name in names:
            check_name(name, known, f'task or test set of config.ablation.groups.{group}:')
    for group, gates in settings['group_gates'].items():
        check_name(group, groups, 'group of config.ablation.group_gates:')
        key = f'group_gates.{group}'
        check_gates(as_gates(gates, key), list(settings['arms']), key)
