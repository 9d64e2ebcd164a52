"""The plan: the one place that decides what trains, when, how fast and in which mode."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError, check_name
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.registry import parse
from ftjax.freezing.rules import FROZEN, assign
from ftjax.models.stages import Mode, Network

NORM_POLICIES = ('auto', 'frozen', 'train', 'follow_mask')
HEAD_POLICIES = ('auto', 'train', 'freeze')


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreezeSettings:
    """What a config says about freezing: `config.freeze`, a string or these fields."""

    strategy: str = 'full'
    """A name of the catalogue, or several joined by `+`; not used when there are rules."""
    rules: tuple[tuple[str, str], ...] = ()
    """Ordered (pattern, group): first match wins; the group `frozen` does not train."""
    multipliers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Learning-rate multiplier of each trainable group of the rules, 1 where absent."""
    norm: str = 'auto'
    """BatchNorm: `frozen` uses running statistics everywhere, `train` batch statistics
    everywhere, `follow_mask` batch statistics in the stages that train; `auto` is the
    strategy's own, which is `follow_mask` unless it says otherwise."""
    head: str = 'auto'
    """`train` or `freeze` the head whatever the strategy says; `auto` leaves it to it."""
    decay_vectors: bool = False
    """Apply weight decay to biases, norms and other one-dimensional leaves too."""

    def __post_init__(self):
        check_name(self.norm, NORM_POLICIES, 'freeze.norm')
        check_name(self.head, HEAD_POLICIES, 'freeze.head')
        object.__setattr__(self, 'rules', tuple((str(p), str(g)) for p, g in self.rules))


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

    @property
    def size(self) -> int:
        """Number of elements."""
        return functools.reduce(lambda a, b: a * b, self.shape, 1)


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

    @functools.cached_property
    def trainable(self) -> tuple[str, ...]:
        """Paths of the leaves that train, sorted: the order of every vector of rates."""
        return tuple(sorted(p for p, leaf in self.leaves.items() if leaf.group != FROZEN))

    @functools.cached_property
    def cut(self) -> str:
        """The first stage that needs a gradient; those before it run forward only."""
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

    @property
    def prefix_is_fixed(self) -> bool:
        """Whether the stages before the cut are a function of weights and example alone."""
        before = list(self.stages)[: list(self.stages).index(self.cut)]
        return all(self.modes[n].deterministic and not self.modes[n].batch_stats for n in before)

    def size(self, trainable_only: bool = False) -> int:
        """Number of parameters, or of trainable ones."""
        paths = self.trainable if trainable_only else self.leaves
        return sum(self.leaves[path].size for path in paths)

    @property
    def program(self) -> tuple:
        """What decides the compiled step: equal for phases that can share one."""
        groups = tuple((p, self.leaves[p].group, self.leaves[p].decay) for p in self.trainable)
        return groups, tuple(self.modes.items())


@dataclasses.dataclass(frozen=True)
class Plan:
    """Phases in the order of their first steps; a static strategy has one."""

    strategy: str
    phases: tuple[Phase, ...]

    def at(self, step: int) -> Phase:
        """The phase that step `step` belongs to."""
        return [phase for phase in self.phases if phase.start <= step][-1]

    def to_json(self) -> dict[str, Any]:
        """Plain values: what plan.json holds."""
        return {
            'strategy': self.strategy,
            'phases': [
                {
                    'start': phase.start,
                    'cut': phase.cut,
                    'params_total': phase.size(),
                    'params_trainable': phase.size(trainable_only=True),
                    'stages': {
                        name: {'trains': s.trains, **dataclasses.asdict(s.mode)}
                        for name, s in phase.stages.items()
                    },
                    'leaves': {
                        path: {
                            'group': leaf.group,
                            'multiplier': leaf.multiplier,
                            'decay': leaf.decay,
                            'shape': list(leaf.shape),
                        }
                        for path, leaf in phase.leaves.items()
                    },
                }
                for phase in self.phases
            ],
        }


def make_plan(
    freeze: str | FreezeSettings | Mapping[str, Any],
    network: Network,
    variables: Mapping[str, Any],
    *,
    head_is_new: bool = True,
) -> Plan:
    """Decides what trains: a pure function of the config and of the tree's shapes.

    Args:
      freeze: a strategy string, FreezeSettings, or a mapping of their fields.
      network: gives the stages.
      variables: 'params' and perhaps 'batch_stats'; arrays or jax.ShapeDtypeStruct.
      head_is_new: whether the head was initialised for this task's classes.

    Raises:
      UserError: unknown strategy, a rule that matches nothing, a leaf that no rule matches,
        or a plan that trains nothing.

    >>> import jax
    >>> from ftjax.models.registry import build
    >>> net = build('vit', {'depth': 2, 'width': 8, 'heads': 2, 'image_size': 16})
    >>> shapes = jax.eval_shape(net.init, jax.random.key(0), net.example_input())
    >>> make_plan('last:1', net, shapes).at(0).cut
    'block_01'
    """
    settings = as_settings(freeze)
    net = Anatomy.of(network, variables, head_is_new)
    groups, norm, quiet = decide_groups(settings, net)
    if settings.head != 'auto':
        for path in net.head:
            groups[path] = FROZEN if settings.head == 'freeze' else 'trunk'
    if all(group == FROZEN for group in groups.values()):
        raise UserError(f'freeze {describe(settings)!r} trains nothing: every leaf is frozen')
    unknown = set(settings.multipliers) - set(groups.values())
    for name in sorted(unknown):
        check_name(name, set(groups.values()) - {FROZEN}, 'group in freeze.multipliers:')
    leaves = {
        path: Leaf(
            path=path,
            stage=path.split('/')[0],
            shape=net.shapes[path],
            dtype=net.dtypes[path],
            group=groups[path],
            multiplier=float(settings.multipliers.get(groups[path], 1.0)),
            decay=settings.decay_vectors or len(net.shapes[path]) > 1,
        )
        for path in net.shapes
    }
    phase = Phase(0, leaves, plan_stages(net, groups, norm, quiet))
    return Plan(describe(settings), (phase,))


def as_settings(freeze: str | FreezeSettings | Mapping[str, Any]) -> FreezeSettings:
    """FreezeSettings from whatever a config holds."""
    if isinstance(freeze, FreezeSettings):
        return freeze
    if isinstance(freeze, str):
        return FreezeSettings(strategy=freeze)
    known = [field.name for field in dataclasses.fields(FreezeSettings)]
    for key in freeze:
        check_name(key, known, 'key of freeze:')
    return FreezeSettings(**dict(freeze))


def describe(settings: FreezeSettings) -> str:
    """The strategy's string, or 'rules'."""
    return 'rules' if settings.rules else settings.strategy


def decide_groups(settings: FreezeSettings, net: Anatomy) -> tuple[dict[str, str], str, bool]:
    """(group of every leaf, norm policy, whether even trained stages run without noise)."""
    norm, quiet = settings.norm, False
    if settings.rules:
        groups = assign(net.shapes, settings.rules)
    else:
        trainable: frozenset[str] = frozenset()
        for term in parse(settings.strategy):
            trainable |= term(net)
            quiet |= term.strategy.options.get('deterministic', False)
            if settings.norm == 'auto' and 'norm' in term.strategy.options:
                norm = term.strategy.options['norm']
        groups = {path: 'trunk' if path in trainable else FROZEN for path in net.shapes}
    return groups, 'follow_mask' if norm == 'auto' else norm, quiet


def plan_stages(
    net: Anatomy, groups: Mapping[str, str], norm: str, quiet: bool
) -> dict[str, StagePlan]:
    """Which stages train and how each runs: frozen ones without noise, by fixed statistics."""
    with_stats = {path.split('/')[0] for path in net.stats}
    plans = {}
    for name in net.stages:
        trains = any(groups[path] != FROZEN for path in net.within(name))
        moving = name in with_stats and (norm == 'train' or (norm == 'follow_mask' and trains))
        mode = Mode(deterministic=quiet or not trains, batch_stats=moving)
        plans[name] = StagePlan(name=name, trains=trains, mode=mode)
    return plans
