"""What a device of a mesh holds and moves in a step, from shapes, as leaves are placed."""

from __future__ import annotations

import dataclasses
import math
import re

import jax.numpy as jnp

from ftjax.distributed.sharding import Sharding
from ftjax.freezing.plan.phase import Phase
from ftjax.leaves import flatten
from ftjax.models.layers.vocabulary_slices import LEAST
from ftjax.models.shared_leaves import used_by
from ftjax.training.cost.memory import step_arguments
from ftjax.training.step.run_spec import RunSpec
from ftjax.xla.sliced_vocabulary import sliced_of


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Bytes of whole leaves that a step of one device sends round the mesh, and what it holds."""

    held: int
    """Bytes that stay on a device between steps: leaves, optimizer state, averages."""
    largest_stage: int
    """Bytes of the leaves of the stage that is largest when it is gathered.

    Of a table over a vocabulary in parts there is one slice at once.
    """
    forward: int
    """Gathered for the forward pass."""
    backward: int
    """Gathered once more for the backward pass."""
    reduced: int
    """Gradients that are summed over the devices and stay in parts."""
    copied: int
    """Gradients that are summed over the devices and lie whole on each."""
    data: int
    fsdp: int

    @property
    def moved(self) -> float:
        """Bytes that each device receives in a step, in a ring (Patarasuk and Yuan 2009).

        A gather of S bytes over n devices brings (n-1)/n S, a sum that stays in parts as much, a
        sum of which each gets all twice that.
        """
        return self.along_fsdp + self.along_data

    @property
    def along_fsdp(self) -> float:
        """Of `moved`, what comes from devices along `fsdp`."""
        gathered = self.forward + self.backward
        return (gathered + self.reduced + 2 * self.copied) * (self.fsdp - 1) / self.fsdp

    @property
    def along_data(self) -> float:
        """Of `moved`, what comes from devices along `data`: sums of what `fsdp` has summed."""
        summed = self.reduced / self.fsdp + self.copied
        return 2 * summed * (self.data - 1) / self.data


def traffic(spec: RunSpec, phase: Phase) -> Traffic:
    """Of the step of a phase: nothing is compiled.

    Stages before the cut are gathered once, those from the cut on for each pass, the last once,
    tables over a vocabulary once for words and twice for a head, and all that as often as
    `optimizer.accumulate` parts a batch.
    """
    sharding, parts = spec.sharding, spec.optimizer.accumulate
    held, (state, frozen, *_) = step_arguments(spec, phase)
    leaves = {**state.trainable, **frozen.params}
    names = spec.network.stages
    cut = names.index(phase.cut)

    def size(path: str) -> int:
        return math.prod(leaves[path].shape) * jnp.dtype(leaves[path].dtype).itemsize

    def in_parts(path: str) -> bool:
        return sharding.sharding(path, leaves[path].shape) != sharding.whole

    forward = backward = largest = 0
    for number, name in enumerate(names):
        own = used_by(spec.network.ties, name, leaves)
        sliced = sliced_of(spec.network, own, sharding)
        moved = {path for path in own if in_parts(path)}
        largest = max(largest, sum(size(p) // (LEAST if p in sliced else 1) for p in own))
        forward += sum(map(size, moved))
        # The last stage keeps its leaves, but of a vocabulary no slice; no other needs that again.
        again = sliced if number == len(names) - 1 else moved - sliced
        backward += sum(map(size, again)) if cut <= number else 0
    gradients = {path: in_parts(path) for path in state.trainable}
    return Traffic(
        held=sum(n for name, n in held.items() if name != 'batch'),
        largest_stage=largest,
        forward=forward * parts,
        backward=backward * parts,
        reduced=sum(size(path) for path, parted in gradients.items() if parted) * parts,
        copied=sum(size(path) for path, parted in gradients.items() if not parted) * parts,
        data=sharding.devices // sharding.fsdp,
        fsdp=sharding.fsdp,
    )


def choices(spec: RunSpec, phase: Phase) -> dict[str, Traffic]:
    """The traffic of a phase under each of its `placements`."""
    return {
        name: traffic(dataclasses.replace(spec, sharding=placed), phase)
        for name, placed in placements(spec, phase).items()
    }


def placements(spec: RunSpec, phase: Phase) -> dict[str, Sharding]:
    """The mesh as the config has it, and with more leaves pinned by `mesh_rules`."""
    frozen = set(flatten(spec.variables['params'])) - set(phase.trainable)
    names = spec.network.stages
    before = names[: names.index(phase.cut)]
    early = {path for path in frozen if path.split('/')[0] in before}

    def pinned(paths: set[str]) -> Sharding:
        rules = (('|'.join(map(re.escape, sorted(paths))), 'whole'), *spec.sharding.rules)
        return dataclasses.replace(spec.sharding, rules=rules)

    found = {'as the config says': spec.sharding}
    if early:
        rule = f"('({'|'.join(before)})/.*', 'whole')"
        found[f'frozen leaves before the cut whole: {rule}'] = pinned(early)
    if frozen - early:
        found['all frozen leaves whole'] = pinned(frozen)
    return found
