"""Checks of what `from_nnx` and `from_linen` are given, before any of it is run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from ftjax.errors import UserError, shown

_NAME = re.compile(r'[A-Za-z_][\w.-]*')


def check_stages(stages: object, where: str, *, rows: bool = True) -> None:
    """UserError unless it is a mapping from names to paths, rows of paths, or functions.

    Args:
      stages: as a user wrote it.
      where: 'from_nnx' or 'from_linen'.
      rows: whether a stage may be several paths in a row.
    """
    if not isinstance(stages, Mapping) or not stages:
        raise UserError(
            f"{where}: stages is {shown(stages)}; expected a dict, {{'block_00': 'blocks.0', "
            "'head': 'out'}"
        )
    for name, what in stages.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f'{where}: a stage is called {shown(name)}; expected letters, digits and _, '
                "'block_00'"
            )
        several = (
            isinstance(what, Sequence) and bool(what) and all(isinstance(p, str) for p in what)
        )
        if not (isinstance(what, str) or callable(what) or (rows and several)):
            raise UserError(
                f'{where}: stage {name!r} is {shown(what)}; expected the path of a module'
                f'{", several in a row" * rows}, or a function of the model and of what the stage '
                'before returns'
            )


def check_example(example: object, where: str) -> None:
    """UserError unless it is arrays with a batch axis, or their shapes."""
    leaves = jax.tree.leaves(example)
    if not leaves or any(
        not hasattr(leaf, 'dtype') or not getattr(leaf, 'shape', ()) for leaf in leaves
    ):
        raise UserError(
            f'{where}: example is {shown(example)}; expected one batch of inputs, as '
            'jnp.zeros((1, 32, 32, 3)), or a dict of arrays'
        )


def check_rebuild(rebuild: Callable | None) -> None:
    """UserError for a `rebuild` that cannot be called."""
    if rebuild is not None and not callable(rebuild):
        raise UserError(
            f'from_nnx: rebuild is {shown(rebuild)}; expected lambda rngs: Model(.., rngs=rngs)'
        )


def check_patterns(roles: Mapping[str, str]) -> None:
    """UserError for a pattern of leaves that is no regular expression."""
    for role, pattern in roles.items():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise UserError(
                f'from_nnx: the pattern of role {role!r} is {shown(pattern)}: {error}'
            ) from None


def check_names(class_names: Sequence[str], outputs: int, where: str) -> None:
    """UserError where there are names for another number of classes than the head has."""
    if isinstance(class_names, str) or (class_names and len(class_names) != outputs):
        raise UserError(
            f'{where}: class_names is {shown(class_names)}, and the last stage has {outputs} '
            'outputs; expected a name for each'
        )


def check_drawn(leaves: Mapping[str, Any], drawn: Mapping[str, Any]) -> None:
    """UserError where `rebuild` makes a model of other leaves or sizes."""
    for key in sorted({*leaves, *drawn}):
        shapes = [getattr(tree.get(key), 'shape', None) for tree in (leaves, drawn)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f'from_nnx: rebuild makes another model: {key} is {shapes[1]}, and {shapes[0]} in '
                'the model that was given'
            )
