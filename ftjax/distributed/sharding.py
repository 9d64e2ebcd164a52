"""Where everything of a run lies: one mesh of devices, and what is shared out along its axes.

Batches are shared out over all devices. Leaves, optimizer state and averages are shared out along
`fsdp`, and `stage_weights.py` gathers the leaves of one stage after the other. A rule may pin
leaves: then they lie whole on every device, and no step moves them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.tree_util import DictKey, GetAttrKey

from ftjax.distributed.device_put import Own, put
from ftjax.distributed.mesh_settings import AXES, SHARED, checked_axes, checked_rules
from ftjax.distributed.process_group import several
from ftjax.errors import UserError
from ftjax.freezing.rules import why_dead
from ftjax.pytrees import Array, Tree

State = TypeVar('State')
"""What a step changes, a TrainState."""
Fixed = TypeVar('Fixed')
"""What it only reads, a Frozen."""

SMALL = 1024
"""Entries below which a leaf lies whole on every device: sharing it out would save nothing."""


@dataclasses.dataclass(frozen=True)
class Sharding:
    """A mesh over all devices and what lies where; by default one axis, `data`.

    On one device it changes nothing at all.
    """

    data: int | None = None
    """Devices along this axis; None for all that `fsdp` leaves."""
    fsdp: int = 1
    rules: tuple[tuple[str, str], ...] = ()
    """(pattern, 'fsdp' or 'whole') by whole path; the first that matches decides."""

    @classmethod
    def of(cls, axes: Mapping[str, int], rules: Sequence[object] = ()) -> Sharding:
        """The sharding of `config.mesh` and `config.mesh_rules`, for the devices there are.

        Raises:
          UserError: an unknown axis, a wrong rule, or another number of devices.
        """
        made = cls(**checked_axes(axes), rules=checked_rules(rules))
        there = jax.device_count()
        known = made.fsdp * (made.data or 1)
        if known != there if made.data else there % known:
            raise UserError(
                f'config.mesh {dict(axes)} asks for {known} devices and there are {there}; the '
                'product of its axes must be their number'
            )
        return made

    @property
    def devices(self) -> int:
        """How many there are, of all processes."""
        return jax.device_count()

    @property
    def mesh(self) -> jax.sharding.Mesh:
        """The devices; Auto, since linen fails under Explicit axes."""
        return _mesh(jax.device_count(), self.fsdp)

    @property
    def whole(self) -> NamedSharding:
        """The same on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def examples(self, axis: int = 0) -> NamedSharding:
        """Examples, along `axis`, over all devices."""
        names = AXES if self.fsdp > 1 else AXES[0]
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, names))

    def check(self, paths: Collection[str], batch_size: int, parts: int = 1) -> None:
        """UserError if a rule matches no leaf, or a batch in so many parts cannot be shared out."""
        left = list(paths)
        for pattern, kind in self.rules:
            taken = {path for path in left if re.fullmatch(pattern, path)}
            if not taken:
                reason = why_dead(re.compile(pattern), list(paths))
                raise UserError(f'mesh rule ({pattern!r}, {kind!r}) decides no leaf: {reason}')
            left = [path for path in left if path not in taken]
        self.check_batch(batch_size)
        if batch_size % parts:
            raise UserError(
                f'optimizer.accumulate={parts} does not divide a batch of {batch_size} examples '
                'into equal parts; choose a divisor'
            )
        if self.devices > 1 and batch_size % (parts * self.devices):
            raise UserError(
                f'optimizer.accumulate={parts} makes parts of {batch_size / parts:g} examples, '
                f'which {self.devices} devices cannot share evenly; choose a multiple of '
                f'{parts * self.devices} as data.batch_size'
            )

    def check_batch(self, size: int) -> None:
        """UserError if a batch of so many examples cannot be shared out evenly."""
        if size % self.devices:
            raise UserError(
                f'a batch of {size} examples cannot be shared out over {self.devices} devices; '
                'choose a multiple as data.batch_size'
            )

    def fitting(self, size: int, parts: int = 1) -> int:
        """The largest batch up to `size` that can be shared out in so many parts.

        At least one example each.
        """
        unit = self.devices * parts
        return max(size // unit, 1) * unit

    def rows(self, size: int) -> np.ndarray:
        """Which rows of a batch of `size` lie on this process's devices, ascending."""
        places = self.examples().addressable_devices_indices_map((size,)).values()
        return np.unique(np.concatenate([np.arange(size)[place] for place in places if place]))

    def batch(self, tree: Tree, axis: int = 0, size: int | None = None) -> Tree:
        """Puts a batch on the devices, its examples (along `axis`) shared out evenly.

        Args:
          tree: arrays on the host.
          axis: of the examples.
          size: of the whole batch, where each process gives only its own `rows`.
        """
        if self.devices == 1:
            return jax.device_put(tree)
        whole = size if several() else None
        for leaf in jax.tree.leaves(tree):
            self.check_batch(whole or leaf.shape[axis])
        own = None if whole is None else Own(self.rows(whole), whole)
        return put(tree, self.examples(axis), axis, own)

    def copied(self, tree: Tree) -> Tree:
        """Puts a tree on every device."""
        return put(tree, self.whole)

    def padded(self, tree: Tree) -> Tree:
        """A batch with its first example repeated, so that it can be shared out."""

        def longer(leaf):
            more = -len(leaf) % self.devices
            return leaf if not more else np.concatenate([leaf, np.repeat(leaf[:1], more, axis=0)])

        return jax.tree.map(longer, tree)

    def place(self, state: State, frozen: Fixed) -> tuple[State, Fixed]:
        """Puts a TrainState and its Frozen where they belong."""
        return put(state, self.of_state(state)), put(frozen, self.of_frozen(frozen))

    def of_state(self, state: Any) -> object:
        """A sharding for each leaf of a TrainState: by the path that it belongs to."""

        def find(keys, leaf):
            path = next((k.key for k in keys if _names(k, state.trainable)), None)
            return self.sharding(path, leaf.shape)

        return jax.tree_util.tree_map_with_path(find, state)

    def of_frozen(self, frozen: object) -> object:
        """A sharding for each leaf of a Frozen: by the path that it belongs to."""

        def find(keys, leaf):
            field = next(key.name for key in keys if isinstance(key, GetAttrKey))
            path = next((key.key for key in keys if isinstance(key, DictKey)), None)
            path = None if field == 'stats' else path
            return self.sharding(path, leaf.shape)

        return jax.tree_util.tree_map_with_path(find, frozen)

    def sharding(self, path: str | None, shape: tuple[int, ...]) -> NamedSharding:
        """Of one leaf: along its largest dimension that `fsdp` divides, or whole.

        Args:
          path: below params; None for what belongs to no leaf, which is whole.
          shape: of the array.
        """
        rules = (kind for pattern, kind in self.rules if path and re.fullmatch(pattern, path))
        wanted = path is not None and next(rules, SHARED) == SHARED
        if not wanted or self.fsdp == 1 or math.prod(shape) < SMALL:
            return self.whole
        sides = [(side, -axis) for axis, side in enumerate(shape) if side % self.fsdp == 0]
        if not sides:
            return self.whole
        return NamedSharding(self.mesh, PartitionSpec(*[None] * -max(sides)[1], AXES[1]))

    def gathered(self, tree: Tree) -> Tree:
        """Within a step: leaves whole on every device, whatever they lie like between steps."""
        return tree if self.fsdp == 1 else jax.lax.with_sharding_constraint(tree, self.whole)

    def spread(self, leaves: Mapping[str, Array]) -> dict[str, Array]:
        """Within a step: gradients of trainable leaves where these lie."""
        if self.fsdp == 1:
            return dict(leaves)
        places = {p: self.sharding(p, leaf.shape) for p, leaf in leaves.items()}
        return jax.lax.with_sharding_constraint(dict(leaves), places)

    def parts(self, tree: Tree) -> Tree:
        """Within a step: batches stacked for accumulation, examples of each over all devices."""
        if self.devices == 1:
            return tree
        return jax.lax.with_sharding_constraint(tree, self.examples(axis=1))

    def making(self) -> contextlib.AbstractContextManager[object]:
        """What is made inside is made in host memory: no device ever holds all of it."""
        if self.fsdp > 1:
            with contextlib.suppress(RuntimeError):  # a JAX that was told to leave the CPU alone
                return jax.default_device(jax.local_devices(backend='cpu')[0])
        return contextlib.nullcontext()


@functools.lru_cache(maxsize=8)
def _mesh(devices: int, fsdp: int) -> jax.sharding.Mesh:
    shape = (devices // fsdp, fsdp) if fsdp > 1 else (devices,)
    return jax.make_mesh(shape, AXES[: len(shape)], axis_types=(AxisType.Auto,) * len(shape))


def _names(key: object, known: Mapping[str, object]) -> bool:
    return isinstance(key, DictKey) and key.key in known
