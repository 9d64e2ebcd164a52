"""What a config says about freezing: `config.freeze`, a string or these fields."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from ftjax.errors import UserError, check_name, shown
from ftjax.field_types import check_fields, fits
from ftjax.ranges import at_least

NORM_POLICIES = ('auto', 'frozen', 'train', 'follow_mask', 'recompute')
HEAD_POLICIES = ('auto', 'train', 'freeze')
NOISE_POLICIES = ('auto', 'trained', 'off')
# What may stand beside phases, in `strategy`: nothing of it decides what trains when.
EXTRA_KINDS = ('adapter', 'shape', 'regulariser', 'average', 'weights')
FROZEN_DTYPES = ('float32', 'bfloat16')
STATE_POLICIES = ('auto', 'per_leaf_count', 'keep', 'reset')
PHASE_KEYS = (
    *('until', 'freeze', 'rules', 'multipliers', 'rate', 'anneal'),
    *('norm', 'noise', 'restart', 'reinit'),
)


class PhaseFields(TypedDict):
    """The kinds of what a phase may say; PHASE_KEYS are its keys."""

    until: str | int | None
    freeze: str
    rules: tuple
    multipliers: Mapping
    rate: float
    anneal: Mapping
    norm: str
    noise: str
    restart: bool
    reinit: tuple


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreezeSettings:
    """What trains, when and how fast, as a config says it."""

    strategy: str = 'full'
    """A name of the catalogue, or several joined by `+`; not used with rules. Beside phases,
    only what adds parameters, shapes the rate, regularises or averages: 'lora:8+l2_sp'."""
    rules: tuple[tuple[str, str], ...] = ()
    """Ordered (pattern, group): first match wins; the group `frozen` does not train."""
    phases: tuple[Mapping[str, Any], ...] = ()
    """Phases in order, each `(until, freeze)`, `(until, freeze, rate)` or a mapping with the
    keys of PHASE_KEYS: `until` is '2 epochs', '100 steps', '30%' or None for the end;
    `freeze` a strategy, or `rules` with `multipliers`; `rate` multiplies the learning rate."""
    multipliers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Learning-rate multiplier of each trainable group of the rules, 1 where absent."""
    norm: str = 'auto'
    """BatchNorm: `frozen` uses running statistics everywhere, `train` batch statistics
    everywhere, `follow_mask` batch statistics in the stages that train, `recompute` statistics
    estimated anew on the training inputs before the first step, then frozen; `auto` is the
    strategy's own, which is `follow_mask` unless it says otherwise."""
    noise: str = 'auto'
    """Dropout and stochastic depth: on in the stages that are `trained`, `off` everywhere,
    or the strategy's own (`auto`), which is `trained` unless it says otherwise."""
    head: str = 'auto'
    """`train` or `freeze` the head whatever the strategy says; `auto` leaves it to it, but for a
    pretrained decoder's, which trains with the whole network or alone."""
    optimizer_state: str = 'auto'
    """At a change of phase: `keep` moments and one shared count, `reset` all, or keep moments
    and give every leaf its own count (`per_leaf_count`, the default), so that the first Adam
    step of a newly opened leaf is as long as the learning rate."""
    rewarm: Annotated[int, at_least(0, 'a number of steps')] = 0
    """Steps over which the rate rises from 0 again after each change of phase."""
    decay_vectors: bool = False
    """Apply weight decay to biases, norms and other one-dimensional leaves too."""
    undecayed: str = ''
    """A regular expression: weight decay takes nothing from the leaves whose paths hold it,
    'embed/' say; beside vectors, and what a strategy spares by itself."""
    frozen_dtype: str | None = None
    """`bfloat16` holds frozen float32 leaves in half the memory while a phase trains others;
    they are rounded, the loaded values come back in the result and where a later phase opens
    them. None, or `float32`, leaves them as they were loaded."""

    def __post_init__(self):
        check_fields(FreezeSettings, dict(vars(self)), 'freeze')
        check_name(self.norm, NORM_POLICIES, 'freeze.norm')
        check_name(self.noise, NOISE_POLICIES, 'freeze.noise')
        check_name(self.head, HEAD_POLICIES, 'freeze.head')
        if self.frozen_dtype is not None:
            known = check_name(self.frozen_dtype, FROZEN_DTYPES, 'freeze.frozen_dtype')
            # One spelling of the default, so that configs that mean the same are the same.
            object.__setattr__(self, 'frozen_dtype', None if known == 'float32' else known)
        check_name(self.optimizer_state, STATE_POLICIES, 'freeze.optimizer_state')
        if self.rules and self.phases:
            raise UserError('freeze has both rules and phases; put the rules into the phases')
        if self.rules and self.strategy != 'full':
            raise UserError(
                f'freeze has both rules and strategy={self.strategy!r}; keep one, or put the rules '
                'into phases: beside them a strategy may add parameters, regularise or average'
            )
        if self.multipliers and not self.rules:
            where = 'the phase that has rules' if self.phases else 'freeze.rules beside them'
            raise UserError(
                f'freeze.multipliers are of groups of rules, and there are none here; expected '
                f'{where}'
            )
        object.__setattr__(self, 'rules', read_rules(self.rules))
        read_numbers(self.multipliers, 'freeze.multipliers')
        object.__setattr__(self, 'phases', tuple(read_phase(phase) for phase in self.phases))

    @property
    def described(self) -> str:
        """The strategy's string, 'rules' or 'phases'."""
        return 'phases' if self.phases else 'rules' if self.rules else self.strategy


def read_phase(given: object) -> dict[str, object]:
    """One user-written phase as a mapping; UserError for a key it cannot have."""
    if not isinstance(given, Mapping):
        parts = tuple(given) if isinstance(given, (tuple, list)) else ()
        if not 2 <= len(parts) <= 3:
            raise UserError(
                f"freeze.phases: {shown(given)}; expected (until, freeze), for instance ('30%', "
                "'head'), (until, freeze, rate) or a mapping"
            )
        given = dict(zip(('until', 'freeze', 'rate'), parts, strict=False))
    for key in given:
        check_name(key, PHASE_KEYS, 'key of a phase:')
    phase = {k: value for k, value in given.items() if value is not None or k == 'until'}
    check_fields(PhaseFields, phase, 'freeze.phases: one')
    for name in ('multipliers', 'anneal'):
        if name in phase:
            phase[name] = read_numbers(phase[name], f'freeze.phases: {name}')
    read_numbers({'rate': phase.get('rate', 1.0)}, 'freeze.phases')
    # Statistics are estimated anew before the first step alone.
    norms = [name for name in NORM_POLICIES if name != 'recompute']
    for name, known in (('norm', norms), ('noise', NOISE_POLICIES)):
        if name in phase:
            check_name(phase[name], known, f'{name} of a phase')
            if phase[name] == 'auto':
                del phase[name]
    if bool(phase.get('freeze')) == bool(phase.get('rules')):
        raise UserError(f'freeze.phases: {shown(given)} needs either freeze or rules')
    for name in ('multipliers', 'anneal'):
        if phase.get(name) and not phase.get('rules'):
            raise UserError(
                f'freeze.phases: {name} are of groups of rules, and {shown(given)} has none'
            )
    for name, step in phase.get('anneal', {}).items():
        if not step:
            raise UserError(f'freeze.phases: anneal.{name} is 0; expected a step above 0')
    if 'rules' in phase:
        phase['rules'] = read_rules(phase['rules'], 'freeze.phases: rules')
    if 'reinit' in phase:  # a tuple is a list in config.json
        phase['reinit'] = tuple(phase['reinit'])
    return phase


def read_numbers(given: Mapping[Any, Any], what: str) -> dict[str, float]:
    """Numbers by name, none negative; UserError for anything else."""
    for name, value in given.items():
        if not fits(value, float) or not 0 <= value < math.inf:
            raise UserError(f'{what}.{name} is {shown(value)}; expected a number, at least 0')
    return dict(given)


def read_rules(given: object, what: str = 'freeze.rules') -> tuple[tuple[str, str], ...]:
    """Pairs of a pattern and a group; UserError for anything else."""
    if not isinstance(given, (tuple, list)):
        raise UserError(f"{what} is {shown(given)}; expected pairs ('head/.*', 'GROUP')")
    for pair in given:
        texts = isinstance(pair, (tuple, list)) and [isinstance(x, str) for x in pair]
        if texts != [True, True]:
            raise UserError(f"{what}: {shown(pair)}; expected a pair ('head/.*', 'GROUP')")
    return tuple((pattern, group) for pattern, group in given)


def as_settings(freeze: str | FreezeSettings | Mapping[str, Any]) -> FreezeSettings:
    """FreezeSettings from whatever a config holds."""
    if isinstance(freeze, FreezeSettings):
        return freeze
    if isinstance(freeze, str):
        return FreezeSettings(strategy=freeze)
    if not isinstance(freeze, Mapping):
        raise UserError(
            f"freeze is {shown(freeze)}; expected a strategy such as 'last:2' or fields"
        )
    known = [field.name for field in dataclasses.fields(FreezeSettings)]
    for key in freeze:
        check_name(key, known, 'key of freeze:')
    return FreezeSettings(**dict(freeze))
