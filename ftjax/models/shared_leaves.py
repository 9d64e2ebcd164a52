"""Leaves that a stage reads: its own, and those that an earlier stage holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import flax.linen as nn
import jax

from ftjax.errors import UserError

Leaf = TypeVar('Leaf')
Ties = Mapping[str, str | tuple[str, ...]]
"""As `Network.ties`."""


def shared_leaf(stage: nn.Module, *path: str) -> jax.Array:
    """The leaf at `path` among the network's params, from within a stage; see `Network.ties`.

    It is read from the params that the run was given, not handed from stage to stage: what flows
    has a batch axis and can be cached, a table has none. Its gradient finds the one leaf wherever
    a run starts.
    """
    # The scope that the stage stands in, so that it works within whatever runs the stages.
    above: Any = stage.scope.parent if stage.scope else None
    leaf: Any = above.variables().get('params', {}) if above else {}
    for key in path:
        if key not in leaf:
            kind = type(stage).__name__
            raise UserError(f'{kind} reads params/{"/".join(path)}, which is not there')
        leaf = leaf[key]
    return leaf


def used_by(ties: Ties, name: str, leaves: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """The leaves of a stage, and those that it shares with earlier stages, if any.

    >>> used_by({'head': 'embed/table'}, 'head', {'embed/table': 1, 'embed/scale': 2})
    {'embed/table': 1}
    """
    tied = ties.get(name, ())
    tied = (tied,) if isinstance(tied, str) else tied
    return {p: leaf for p, leaf in leaves.items() if p.split('/')[0] == name or p in tied}
