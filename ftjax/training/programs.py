"""Compiled programs, shared by every run that asks for the same one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Hashable
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ftjax.errors import UserError

_PROGRAMS: dict[Hashable, Program] = {}


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled function and the seconds its compilation took."""

    call: Any
    seconds: float


def program(key: Hashable, function: Any, *arguments: Any, donate: tuple[int, ...] = ()) -> Program:
    """Compiles `function` for arguments of these shapes, or finds it compiled already.

    `key` must say everything that `function` depends on besides its arguments.
    """
    leaves, structure = jax.tree.flatten(arguments)
    whole = (key, tuple((x.shape, str(x.dtype), x.sharding) for x in leaves), structure)
    if whole not in _PROGRAMS:
        began = time.perf_counter()
        compiled = jax.jit(function, donate_argnums=donate).lower(*arguments).compile()
        _PROGRAMS[whole] = Program(compiled, time.perf_counter() - began)
    return _PROGRAMS[whole]


def mesh() -> jax.sharding.Mesh:
    """All devices on one data-parallel axis; Auto, since linen fails under Explicit axes."""
    return jax.make_mesh((jax.device_count(),), ('data',), axis_types=(AxisType.Auto,))


def replicated(tree: Any) -> Any:
    """Puts a tree on every device."""
    return jax.device_put(tree, NamedSharding(mesh(), PartitionSpec()))


def sharded(batch: Any, axis: int = 0) -> Any:
    """Puts a batch on the devices, its examples (along `axis`) shared out evenly."""
    devices = mesh()
    for leaf in jax.tree.leaves(batch):
        if leaf.shape[axis] % devices.size:
            raise UserError(
                f'a batch of {leaf.shape[axis]} examples cannot be shared out over '
                f'{devices.size} devices; choose a multiple as data.batch_size'
            )
    spec = PartitionSpec(*[None] * axis, 'data')
    return jax.device_put(batch, NamedSharding(devices, spec))
