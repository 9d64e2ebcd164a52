"""One phase of a plan: what it says of every leaf and stage while it lasts."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from ftjax.freezing.rules import FROZEN
from ftjax.models.stages import Mode


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaf:
    """What the plan says of one parameter tensor."""

    path: str
    stage: str
    shape: tuple[int, ...]
    dtype: str
    group: str
    multiplier: float
    decay: bool
    anneal: float | None = None
    """The step, counted from the run's first, at which a cosine of the leaf's own has brought
    its rate to 0; it then follows no common schedule (FreezeOut)."""
    stored: str | None = None
    """The dtype that it is held in while it is frozen; None for its own."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseProgram:
    """What a compiled step knows of its phase; no rates, no values, no start."""

    groups: tuple[tuple[str, str, bool], ...]
    """(path, group, whether its weights decay) of the leaves that train, by path."""
    stage_modes: tuple[tuple[str, Mode], ...]
    cut: str
    held: bool = False
    by_rates: bool = False
    stored_as: tuple[tuple[str, str], ...] = ()
    """(path, dtype) of frozen leaves that are held in another dtype than their own."""

    @functools.cached_property
    def trainable(self) -> tuple[str, ...]:
        """Paths of the leaves that train, sorted: the order of every vector of rates."""
        return tuple(path for path, _, _ in self.groups)

    @functools.cached_property
    def modes(self) -> dict[str, Mode]:
        """How each stage runs in a training step."""
        return dict(self.stage_modes)

    @functools.cached_property
    def stored(self) -> dict[str, str]:
        """The dtypes of frozen leaves that are held in another than their own."""
        return dict(self.stored_as)

    @property
    def moving_stats(self) -> tuple[str, ...]:
        """Stages whose running statistics a training step updates."""
        return tuple(name for name, mode in self.stage_modes if mode.batch_stats)

    def without_noise(self) -> PhaseProgram:
        """The same with every stage deterministic."""
        quiet = [(n, dataclasses.replace(m, deterministic=True)) for n, m in self.stage_modes]
        return dataclasses.replace(self, stage_modes=tuple(quiet))


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagePlan:
    """What the plan says of one stage: whether it trains, and how it runs."""

    name: str
    trains: bool
    mode: Mode


@dataclasses.dataclass(frozen=True)
class Phase:
    """The plan from step `start` on: every leaf, every stage, and the cut."""

    start: int
    leaves: Mapping[str, Leaf]
    stages: Mapping[str, StagePlan]
    restart: bool = False
    """The schedule begins anew here, and ends where the next phase restarts it."""
    reinit: tuple[str, ...] = ()
    """Leaves that are re-initialised at `start`."""
    by_rates: bool = False
    """What of the backward pass a step needs is read from its rates: phases that open different
    leaves then share a program, and what a rate of 0 holds costs no gradient."""
    norm: str = 'follow_mask'
    noise: str = 'trained'
    """The policies on statistics and noise that gave the stages their modes."""

    @functools.cached_property
    def trainable(self) -> tuple[str, ...]:
        """Paths of the leaves that train, sorted: the order of every vector of rates."""
        return tuple(sorted(p for p, leaf in self.leaves.items() if leaf.group != FROZEN))

    @functools.cached_property
    def stored(self) -> dict[str, str]:
        """The dtypes of frozen leaves that are held in another than their own."""
        return {path: leaf.stored for path, leaf in self.leaves.items() if leaf.stored}

    @functools.cached_property
    def moving(self) -> frozenset[str]:
        """The leaves that train at a rate above 0."""
        return frozenset(p for p in self.trainable if self.leaves[p].multiplier)

    @functools.cached_property
    def held(self) -> bool:
        """Whether a gradient is computed of leaves that are held by a rate of 0."""
        if not self.by_rates:
            return len(self.moving) < len(self.trainable)
        still = {self.leaves[path].stage for path in self.trainable if path not in self.moving}
        return bool(still & {self.leaves[path].stage for path in self.moving})

    @functools.cached_property
    def cut(self) -> str:
        """The first stage that may need a gradient; those before it run forward only."""
        if self.by_rates:
            held = {self.leaves[path].stage for path in self.trainable}
            return next(name for name in self.stages if name in held)
        return next(name for name, stage in self.stages.items() if stage.trains)

    @functools.cached_property
    def modes(self) -> dict[str, Mode]:
        """How each stage runs in a training step."""
        return {name: stage.mode for name, stage in self.stages.items()}

    @property
    def moving_stats(self) -> tuple[str, ...]:
        """Stages whose running statistics a training step updates."""
        return tuple(name for name, mode in self.modes.items() if mode.batch_stats)

    @property
    def multipliers(self) -> tuple[float, ...]:
        """Learning-rate multipliers of the trainable leaves, in the order of `trainable`."""
        return tuple(self.leaves[path].multiplier for path in self.trainable)

    def size(self, trainable_only: bool = False) -> int:
        """Number of parameters, or of trainable ones."""
        paths = self.trainable if trainable_only else self.leaves
        return sum(self.leaves[path].size for path in paths)

    @functools.cached_property
    def program(self) -> PhaseProgram:
        """What decides the compiled step: equal for phases that can share one."""
        return PhaseProgram(
            groups=tuple((p, self.leaves[p].group, self.leaves[p].decay) for p in self.trainable),
            stage_modes=tuple(self.modes.items()),
            cut=self.cut,
            held=self.held,
            by_rates=self.by_rates,
            stored_as=tuple(self.stored.items()),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values: an entry of plan.json's phases."""
        return {
            'start': self.start,
            'cut': self.cut,
            'params_total': self.size(),
            'params_trainable': self.size(trainable_only=True),
            'restart': self.restart,
            'reinit': list(self.reinit),
            'stages': {
                name: {'trains': s.trains, **dataclasses.asdict(s.mode)}
                for name, s in self.stages.items()
            },
            'leaves': {
                path: {
                    'group': leaf.group,
                    'multiplier': leaf.multiplier,
                    'decay': leaf.decay,
                    'shape': list(leaf.shape),
                    **({} if leaf.anneal is None else {'anneal': leaf.anneal}),
                    **({} if leaf.stored is None else {'stored': leaf.stored}),
                }
                for path, leaf in self.leaves.items()
            },
        }
