"""Which leaves of a network devices never hold whole: its tables over a vocabulary."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import jax
from jax.sharding import NamedSharding, PartitionSpec

from ftjax.distributed.mesh_settings import AXES
from ftjax.distributed.sharding import Sharding
from ftjax.models.layers.vocabulary_slices import Slices, vocabulary_slices
from ftjax.models.stages import Network
from ftjax.pytrees import Array


def is_sliced(network: Network, path: str, shape: tuple[int, ...], sharding: Sharding) -> bool:
    """Whether a leaf lies in parts and is gathered slice by slice, never whole."""
    known = path in network.vocabulary_leaves and len(shape) == 2
    return known and sharding.sharding(path, shape) != sharding.whole


def sliced_of(network: Network, leaves: Mapping[str, Array], sharding: Sharding) -> frozenset[str]:
    """The paths of those leaves that are gathered slice by slice."""
    return frozenset(p for p, x in leaves.items() if is_sliced(network, p, x.shape, sharding))


def in_slices(network: Network, sharding: Sharding) -> contextlib.AbstractContextManager[object]:
    """Within it, the network takes its tables over a vocabulary in slices, on several devices."""
    if sharding.devices == 1 or not network.vocabulary_leaves:
        return contextlib.nullcontext()

    def slicing(path: str, shape: tuple[int, ...], axis: int) -> Slices | None:
        if path not in network.vocabulary_leaves or len(shape) != 2:
            return None
        spec = [*sharding.sharding(path, shape).spec, None, None][:2]
        groups = sharding.fsdp if spec[axis] == AXES[1] else 1
        # The vocabulary is (groups, some); another axis that is parted stays so.
        split = NamedSharding(
            sharding.mesh, PartitionSpec(*spec[: axis + 1], None, *spec[axis + 1 :])
        )

        def home(x: jax.Array) -> jax.Array:
            return jax.lax.with_sharding_constraint(x, split)

        def whole(x: jax.Array) -> jax.Array:
            return jax.lax.with_sharding_constraint(x, sharding.whole)

        parted = is_sliced(network, path, shape, sharding)
        return Slices(axis, groups, home, whole, sharding.devices, parted)

    return vocabulary_slices(slicing)
