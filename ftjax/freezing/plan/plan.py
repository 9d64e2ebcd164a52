"""The plan: the one place that decides what trains, when, how fast and in which mode."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.data_driven_choice import Choice
from ftjax.freezing.plan.drafts import from_rules, from_terms, user_phases
from ftjax.freezing.plan.phase import Phase
from ftjax.freezing.plan.phase_builder import (
    check_average,
    check_changes,
    check_regularisers,
    extra_terms,
    make_phase,
    with_head,
)
from ftjax.freezing.plan.spared import spared_leaves
from ftjax.freezing.registry import Term, asked, parse
from ftjax.freezing.rules import FROZEN
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.segment import Segment
from ftjax.freezing.settings import FreezeSettings, as_settings
from ftjax.models.stages import Network
from ftjax.pages.elements import paragraph, table
from ftjax.pytrees import Variables

__all__ = ['FreezeSettings', 'Phase', 'Plan', 'RunLength', 'as_settings', 'make_plan']


@dataclasses.dataclass(frozen=True)
class Plan:
    """Phases in the order of their first steps; a static strategy has one."""

    strategy: str
    phases: tuple[Phase, ...]
    terms: tuple[Term, ...] = ()
    optimizer_state: str = 'per_leaf_count'
    rewarm: int = 0
    new_leaves: frozenset[str] = frozenset()
    """Leaves without a pretrained value: a new head, added parameters."""
    norm: str = 'follow_mask'
    noise: str = 'trained'
    """The policies on statistics and noise, as FreezeSettings has them."""
    recompute: bool = False
    """Estimate running statistics on the training inputs before the first step."""
    choices: tuple[Choice, ...] = ()
    """What a strategy that looks at the data has decided so far."""
    choose_at: tuple[int, ...] = ()
    """Steps at which such a strategy decides."""
    base: Phase | None = None
    """What such a strategy chooses from: all that may train, before any choice."""
    net: Anatomy | None = dataclasses.field(default=None, compare=False, repr=False)
    build: Any = dataclasses.field(default=None, compare=False, repr=False)
    """Makes a phase from a segment: what `with_choice` needs of the network."""

    def at(self, step: int) -> Phase:
        """The phase that step `step` belongs to."""
        return [phase for phase in self.phases if phase.start <= step][-1]

    def season(self, step: int, total: int) -> tuple[int, int]:
        """First step and end of the segment of time over which the schedule runs once."""
        starts = [0, *(phase.start for phase in self.phases if phase.restart), total]
        first = max(start for start in starts if start <= step)
        return first, min(start for start in starts if start > first)

    @property
    def trained(self) -> frozenset[str]:
        """Leaves that any phase trains or re-initialises."""
        return frozenset().union(*(p.moving | set(p.reinit) for p in self.phases))

    @property
    def size_trained(self) -> int:
        """Number of parameters that train in any phase; of masked leaves, the open entries."""
        sizes = {path: leaf.size for path, leaf in self.phases[0].leaves.items()}
        sizes.update({path: int(mask.sum()) for path, mask in self.entries.items()})
        return sum(sizes[p] for p in {p for phase in self.phases for p in phase.moving})

    @property
    def entries(self) -> Mapping[str, np.ndarray]:
        """By masked leaf, a bool array of its shape: the entries that one choice has opened."""
        return self.choices[0].entries if len(self.choices) == 1 else {}

    @property
    def moving_stats(self) -> frozenset[str]:
        """Stages whose running statistics move in any phase."""
        return frozenset().union(*(phase.moving_stats for phase in self.phases))

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Steps before which something may change: phases and choices."""
        return tuple(sorted({phase.start for phase in self.phases} | set(self.choose_at)))

    @property
    def per_leaf(self) -> bool:
        """Whether each leaf's optimizer state has a count of its own."""
        return self.optimizer_state == 'per_leaf_count' and len(self.boundaries) > 1

    def of_kind(self, kind: str) -> tuple[Term, ...]:
        """The terms of a kind."""
        return tuple(term for term in self.terms if term.details.kind == kind)

    def term(self, kind: str) -> Term | None:
        """The one term of a kind that can stand only once."""
        return next(iter(self.of_kind(kind)), None)

    @property
    def reads_importance(self) -> bool:
        """Whether a regulariser asks how much weights matter for previous tasks."""
        return any(term.details.importance for term in self.of_kind('regulariser'))

    def with_choice(self, choice: Choice) -> Plan:
        """The plan once a choice is made: a new phase from its step on.

        Raises UserError if the choice leaves nothing to train.
        """
        base = self.base or self.phases[0]
        weights = {path: choice.weights.get(path, 1.0) for path in base.trainable}
        open_ = frozenset(path for path, weight in weights.items() if weight)
        if not open_:
            raise UserError(f'{self.strategy}: the choice at step {choice.step} freezes all')
        chooser = self.term('data_driven')
        often = chooser is not None and chooser.details.often
        # A first choice that comes late is that of a run that began under another plan: no step
        # was made in the phases that it would have had.
        late = not self.choices and self.choose_at and choice.step > self.choose_at[0]
        start = self.choose_at[0] if late else choice.step
        made = self.phase_of(start, weights, shared=often)
        earlier = tuple(phase for phase in self.phases if phase.start < start)
        return dataclasses.replace(self, phases=(*earlier, made), choices=(*self.choices, choice))

    def phase_of(
        self,
        start: int,
        weights: Mapping[str, float],
        shared: bool = False,
        by_rates: bool = False,
    ) -> Phase:
        """A phase from weights of the leaves that may train: 0 freezes, others scale the rate.

        A strategy that chooses leaves over and over would ask for a program each time. With
        `shared`, what closes above the cut is held by a rate of 0 instead, so that there are
        only as many programs as stages; below the cut nothing is computed that does not train.
        With `by_rates` all that closes is held so: there is one program, larger than the others,
        and its backward pass stops where the rates say.
        """
        base = self.base or self.phases[0]
        open_ = frozenset(path for path in base.trainable if weights.get(path, 1.0))
        held = self.from_lowest(open_) if shared else open_
        held = frozenset(base.trainable) if by_rates else held
        factors = {path: leaf.multiplier for path, leaf in base.leaves.items()}
        segment = Segment(start, held, {path: weights.get(path, 1.0) for path in held})
        groups = {
            path: leaf.group if path in held else FROZEN for path, leaf in base.leaves.items()
        }
        made = self.build(segment, groups, factors, open_)
        return dataclasses.replace(made, by_rates=by_rates)

    def from_lowest(self, open_: frozenset[str]) -> frozenset[str]:
        """All that may train in the lowest stage of some leaves and in those above it."""
        base = self.base or self.phases[0]
        order = list(base.stages)
        lowest = min(order.index(base.leaves[path].stage) for path in open_)
        above = set(order[lowest:])
        return frozenset(path for path in base.trainable if base.leaves[path].stage in above)

    def _repr_html_(self) -> str:
        rows = [
            [
                *(f'{phase.start:,}', f'{phase.size(trainable_only=True):,}', phase.cut),
                ', '.join(name for name, stage in phase.stages.items() if stage.trains),
            ]
            for phase in self.phases
        ]
        total = f'{self.phases[0].size():,} parameters in all'
        header = ['from step', 'trained parameters', 'cut', 'stages that train']
        return paragraph(f'{self.strategy}: {total}') + table(header, rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values: what plan.json holds."""
        return {
            'strategy': self.strategy,
            'phases': [phase.to_json() for phase in self.phases],
            'choices': [choice.to_json() for choice in self.choices],
        }


def make_plan(
    freeze: str | FreezeSettings | Mapping[str, object],
    network: Network,
    variables: Variables,
    *,
    head_is_new: bool = True,
    run_length: RunLength | None = None,
    seed: int = 0,
) -> Plan:
    """Decides what trains: a pure function of the config and of the tree's shapes.

    Args:
      freeze: a strategy string, FreezeSettings, or a mapping of their fields.
      network: gives the stages.
      variables: 'params' and perhaps 'batch_stats'; arrays or jax.ShapeDtypeStruct.
      head_is_new: whether the head was initialised for this task's classes.
      run_length: how long the run is; what changes over time needs it.
      seed: of strategies that draw what they train.

    Raises:
      UserError: unknown strategy, a rule that matches nothing, a leaf that no rule matches,
        terms that contradict each other, or a plan that trains nothing.

    >>> import jax
    >>> from ftjax.models.registry import build
    >>> net = build('vit', {'depth': 2, 'width': 8, 'heads': 2, 'image_size': 16})
    >>> shapes = jax.eval_shape(net.init, jax.random.key(0), net.example_input())
    >>> make_plan('last:1', net, shapes).at(0).cut
    'block_01'
    >>> [
    ...     phase.start
    ...     for phase in make_plan('gradual', net, shapes, run_length=RunLength(40, 10)).phases
    ... ]
    [0, 10, 20, 30]
    """
    settings = as_settings(freeze)
    net = Anatomy.of(network, variables, head_is_new)
    run_length = run_length or RunLength()
    if settings.phases:
        terms = extra_terms(settings)
        drafts = user_phases(settings, net, run_length, seed)
    elif settings.rules:
        drafts, terms = [from_rules(settings.rules, settings.multipliers, net)], []
    else:
        terms = parse(settings.strategy)
        drafts = from_terms(terms, net, run_length, seed)
    norm = settings.norm if settings.norm != 'auto' else asked(terms, 'norm') or 'follow_mask'
    noise = settings.noise if settings.noise != 'auto' else asked(terms, 'noise') or 'trained'
    make = functools.partial(make_phase, net, settings)
    phases = []
    for draft in drafts:
        groups = with_head(settings, net, draft.groups, draft.terms)
        if all(group == FROZEN for group in groups.values()):
            when = f' from step {draft.segment.start} on' if len(drafts) > 1 else ''
            raise UserError(
                f'freeze {settings.described!r} trains nothing{when}: every leaf is frozen'
            )
        own = (draft.norm or norm, draft.noise or noise)
        spared = spared_leaves((*terms, *draft.terms), settings, net)
        phases.append(make(spared, *own, draft.segment, groups, draft.factors))
    check_changes(settings, terms, phases)
    check_average(settings, net, terms, phases)
    check_regularisers(settings, net, terms, phases)
    chooser = next((term for term in terms if term.details.kind == 'data_driven'), None)
    if chooser is not None and chooser.details.check is not None:
        chooser.details.check(net, frozenset(phases[0].trainable))
    policy = settings.optimizer_state
    return Plan(
        strategy=settings.described,
        phases=tuple(phases),
        terms=tuple(terms),
        optimizer_state=policy
        if policy != 'auto'
        else asked(terms, 'optimizer_state') or 'per_leaf_count',
        rewarm=settings.rewarm,
        new_leaves=net.new_head | net.adapters,
        norm=norm,
        noise=noise,
        recompute=norm == 'recompute' and bool(net.stats),
        choose_at=chooser.details.when(run_length, **chooser.arguments) if chooser else (),
        base=phases[0],
        net=net,
        build=functools.partial(make, spared_leaves(terms, settings, net), norm, noise),
    )
