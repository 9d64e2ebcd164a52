"""What a network is made of, as strategies see it: stages in depth order and their leaves."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping

from ftjax.errors import UserError
from ftjax.leaves import flatten
from ftjax.models.stages import ROLES, Network
from ftjax.pytrees import Variables


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """The leaves of a parameter tree by stage, kind and name.

    A leaf is named by its path below `params`, 'block_00/attn/query/kernel'; sets of leaves
    are frozensets of paths, so that strategies combine them with `|`, `&` and `-`.
    """

    stages: tuple[str, ...]
    blocks: tuple[str, ...]
    sections: tuple[tuple[str, ...], ...]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    stats: tuple[str, ...] = ()
    head_is_new: bool = True
    keeps_head: bool = False
    """Whether the head is a pretrained decoder's: a part of what came, not the task's own."""
    adapters: frozenset[str] = frozenset()
    """Leaves of adapters, which a strategy adds to the network: LoRA, prompts and others."""
    roles: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    """The leaves of each role: `norm`, `attention`, `position`, `mlp`."""

    @classmethod
    def of(cls, network: Network, variables: Variables, head_is_new: bool = True) -> Anatomy:
        """Reads a network and its variables, arrays or shapes; raises UserError on strays."""
        leaves = flatten(variables['params'])
        strays = sorted({path.split('/')[0] for path in leaves} - set(network.stages))
        if strays:
            raise UserError(
                f'parameters under {strays[0]!r} belong to no stage of the network; its stages '
                f'are {", ".join(network.stages)}'
            )
        # Depth order first, then by name, so that every table and report reads like the net.
        depth = {name: i for i, name in enumerate(network.stages)}
        order = sorted(leaves, key=lambda path: (depth[path.split('/')[0]], path))
        return cls(
            stages=network.stages,
            blocks=network.blocks,
            sections=network.sections,
            shapes={path: tuple(leaves[path].shape) for path in order},
            dtypes={path: str(leaves[path].dtype) for path in order},
            stats=tuple(flatten(variables.get('batch_stats', {}))),
            head_is_new=head_is_new,
            keeps_head=network.is_decoder and not head_is_new,
            adapters=frozenset(path for path in order if network.is_adapter_leaf(path)),
            roles={
                role: frozenset(path for path in order if network.has_role(path, role))
                for role in ROLES
            },
        )

    @functools.cached_property
    def leaves(self) -> frozenset[str]:
        """Every leaf."""
        return frozenset(self.shapes)

    def within(self, *stages: str) -> frozenset[str]:
        """The leaves of some stages."""
        return frozenset(path for path in self.shapes if path.split('/')[0] in stages)

    def matching(self, pattern: str) -> frozenset[str]:
        """The leaves whose path holds the regular expression anywhere."""
        return frozenset(path for path in self.shapes if re.search(pattern, path))

    @functools.cached_property
    def head(self) -> frozenset[str]:
        """The leaves of the head; none in a network without one."""
        return self.within('head')

    @functools.cached_property
    def new_head(self) -> frozenset[str]:
        """The head where it was initialised for new classes, none where it came pretrained."""
        return self.head if self.head_is_new else frozenset()

    @functools.cached_property
    def norms(self) -> frozenset[str]:
        """Scales and biases of the normalisation layers."""
        return self.roles['norm']

    @functools.cached_property
    def stem(self) -> tuple[str, ...]:
        """The stages before the first block."""
        return self.stages[: self.stages.index(self.blocks[0])]

    @functools.cached_property
    def top(self) -> tuple[str, ...]:
        """The stages after the last block: final norm, pooler, head."""
        return self.stages[self.stages.index(self.blocks[-1]) + 1 :]

    @functools.cached_property
    def matrices(self) -> frozenset[str]:
        """Leaves with two dimensions or more below the head: kernels and tables."""
        return frozenset(p for p in self.leaves - self.head if len(self.shapes[p]) > 1)

    def size(self, leaves: Iterable[str]) -> int:
        """Number of parameters in some leaves."""
        return sum(functools.reduce(lambda a, b: a * b, self.shapes[p], 1) for p in leaves)
