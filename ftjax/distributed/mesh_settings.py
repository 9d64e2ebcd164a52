"""What a config says of meshes: `config.mesh` and `config.mesh_rules`, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError, check_name, shown

AXES = ('data', 'fsdp')
SHARED, WHOLE = 'fsdp', 'whole'


def checked_axes(axes: Mapping[str, Any]) -> dict[str, int]:
    """The axes of `config.mesh`; UserError for an unknown one or a size that is none."""
    for name, size in axes.items():
        check_name(name, AXES, 'axis of config.mesh')
        if type(size) is not int or size < 1:
            raise UserError(
                f'config.mesh.{name} is {shown(size)}; expected a number of devices, 1 or more'
            )
    return dict(axes)


def checked_rules(rules: Sequence[object]) -> tuple[tuple[str, str], ...]:
    """The rules of `config.mesh_rules`; UserError for one that is none."""
    found = []
    for rule in rules:
        if not isinstance(rule, (tuple, list)) or [type(x) for x in rule] != [str, str]:
            raise UserError(
                f'config.mesh_rules holds {shown(rule)}; expected a pattern and '
                f"'{SHARED}' or '{WHOLE}'"
            )
        try:
            re.compile(rule[0])
        except re.error as error:
            raise UserError(f'mesh rule {rule[0]!r} is no regular expression: {error}') from error
        check_name(rule[1], (SHARED, WHOLE), f'place of mesh rule {rule[0]!r}:')
        found.append((rule[0], rule[1]))
    return tuple(found)
