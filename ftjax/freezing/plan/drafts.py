"""From strategies, rules or user-written phases to drafts: groups and factors over time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError, check_name
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.registry import Term, asked, parse
from ftjax.freezing.rules import FROZEN, Unmatched, assign
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.segment import Segment, in_order
from ftjax.freezing.settings import FreezeSettings
from ftjax.io.json.json_values import JsonObject

ADAPTERS = 'added'
"""Optimizer group of adapters: so it is called in plan.json and in checkpoints."""


@dataclasses.dataclass(frozen=True)
class Draft:
    """A phase before the policies on head, norms and noise are applied."""

    segment: Segment
    groups: Mapping[str, str]
    factors: Mapping[str, float]
    """Of the rate rule, by leaf."""
    norm: str | None = None
    noise: str | None = None
    terms: tuple[Term, ...] = ()
    """The strategy that named its leaves; () where rules did."""


def from_terms(
    terms: Sequence[Term], net: Anatomy, run_length: RunLength, seed: int
) -> list[Draft]:
    """The drafts of a strategy string: masks united, then met with what the schedule opens."""
    kinds: dict[str, list[Term]] = {}
    for term in terms:
        kinds.setdefault(term.details.kind, []).append(term)
    check_together(terms, kinds)
    allowed = frozenset().union(*(term(net) for term in kinds.get('mask', [])))
    if 'adapter' in kinds:
        # Of the network's adapters those that these terms add: other phases may have others.
        added = [term() for term in kinds['adapter']]
        own = {path for path in net.adapters if any(one.owns(path) for one in added)}
        allowed |= own | net.head
    if not allowed:
        allowed = net.leaves
    factors: dict[str, float] = {}
    for term in kinds.get('rates', []):
        factors = rates_of(term, net)
    segments = [Segment(0, allowed)]
    for term in kinds.get('schedule', []):
        segments = in_order(segments_of(term, net, run_length, seed), run_length.steps)
        segments = [
            dataclasses.replace(s, trainable=s.trainable & allowed, reinit=s.reinit & allowed)
            for s in segments
        ]
    return [
        Draft(
            segment,
            {p: group_of(p, net) if p in segment.trainable else FROZEN for p in net.shapes},
            factors,
            terms=tuple(terms),
        )
        for segment in segments
    ]


def rates_of(term: Term, net: Anatomy) -> dict[str, float]:
    """The multipliers of a rate rule; UserError where its arguments make none of them."""
    try:
        factors = term(net)
    except (ZeroDivisionError, OverflowError):
        factors = {}
    if not factors or not all(0 <= factor < math.inf for factor in factors.values()):
        raise UserError(
            f'freeze {str(term)!r}: rates would be multiplied by negative or infinite numbers; '
            f'as a rule it is {term.part.example!r}'
        )
    return factors


def segments_of(term: Term, net: Anatomy, run_length: RunLength, seed: int) -> list[Segment]:
    """What a schedule opens when; UserError where its arguments make no sequence of it."""
    segments = term(net, run_length, seed)
    rates = {rate for segment in segments for rate in segment.multipliers.values()}
    if min(s.start for s in segments) != 0 or not all(0 <= x < math.inf for x in rates):
        raise UserError(
            f'freeze {str(term)!r}: steps and rates must not be negative; as a rule it is '
            f'{term.part.example!r}'
        )
    return segments


def group_of(path: str, net: Anatomy) -> str:
    """The optimizer group of a trainable leaf: adapters have one of their own."""
    return ADAPTERS if path in net.adapters else 'trunk'


def check_together(terms: Sequence[Term], kinds: Mapping[str, Sequence[Term]]) -> None:
    """UserError where two terms contradict each other."""
    whole = '+'.join(map(str, terms))
    masks = [str(term) for term in kinds.get('mask', [])]
    if len(set(masks)) < len(masks):
        raise UserError(f'freeze {whole!r}: the same mask stands twice')
    if 'full' in masks and len(masks) > 1:
        other = next(mask for mask in masks if mask != 'full')
        raise UserError(f'freeze {whole!r}: full already trains what {other} trains; keep one')
    timed, chosen = kinds.get('schedule', []), kinds.get('data_driven', [])
    if timed and chosen:
        raise UserError(
            f'freeze {whole!r}: {timed[0]} and {chosen[0]} both decide what trains when; keep one'
        )


def from_rules(
    rules: Sequence[tuple[str, str]],
    multipliers: Mapping[str, float],
    net: Anatomy,
    start: int = 0,
    rate: float = 1.0,
    **fields: Any,
) -> Draft:
    """One draft from ordered rules, with the multipliers of their groups."""
    groups = assign(net.shapes, rules)
    names = set(groups.values()) - {FROZEN}
    ends = fields.get('anneal') or {}
    for key, given in (('multipliers', multipliers), ('anneal', ends)):
        for name in sorted(set(given) - names):
            check_name(name, names, f'group in freeze.{key}:')
    factors = {path: rate * multipliers.get(group, 1.0) for path, group in groups.items()}
    anneal = {path: float(ends[group]) for path, group in groups.items() if group in ends}
    open_ = frozenset(path for path, group in groups.items() if group != FROZEN)
    segment = Segment(
        start,
        open_,
        anneal=anneal,
        restart=bool(fields.get('restart')),
        reinit=matching(fields.get('reinit') or (), net),
    )
    return Draft(segment, groups, factors, fields.get('norm'), fields.get('noise'))


def matching(patterns: Sequence[str], net: Anatomy) -> frozenset[str]:
    """The leaves that any of some whole-path patterns matches."""
    if not patterns:
        return frozenset()
    rules = [(str(pattern), 'yes') for pattern in patterns]
    # A last rule that decides nothing would be an error, as it should be for a user's own.
    try:
        return frozenset(assign(net.shapes, rules))
    except Unmatched:
        groups = assign(net.shapes, [*rules, ('.*', 'no')])
        return frozenset(path for path, group in groups.items() if group == 'yes')


def user_phases(
    settings: FreezeSettings, net: Anatomy, run_length: RunLength, seed: int
) -> list[Draft]:
    """The drafts of user-written phases, in order; UserError where their times are not."""
    drafts: list[Draft] = []
    start = 0
    for number, phase in enumerate(settings.phases, 1):
        what = f'until of phase {number}'
        end = run_length.read(phase.get('until'), what)
        if end <= start:
            raise UserError(
                f'freeze.phases: {what} is step {end}, not after step {start}, where it begins; '
                f'the run has {run_length.steps} steps, of which '
                f'{run_length.steps_per_epoch} are an epoch'
            )
        if start < run_length.steps:
            drafts.append(user_phase(phase, net, run_length, seed, start))
        start = end
    if start < run_length.steps:
        raise UserError(
            f'freeze.phases: the last ends at step {start} of {run_length.steps}; let its until be '
            'None'
        )
    return drafts


def user_phase(
    phase: JsonObject, net: Anatomy, run_length: RunLength, seed: int, start: int
) -> Draft:
    """One draft from one user-written phase."""
    rate = float(phase.get('rate', 1.0))
    fields = {k: phase.get(k) for k in ('restart', 'reinit', 'norm', 'noise', 'anneal')}
    if phase.get('rules'):
        multipliers = phase.get('multipliers') or {}
        return from_rules(phase['rules'], multipliers, net, start, rate, **fields)
    terms = parse(phase['freeze'])
    for term in terms:
        if term.details.kind not in ('mask', 'rates', 'adapter'):
            raise UserError(
                f'freeze.phases: {term} decides {term.details.said}; a phase takes masks '
                "and rate rules, for instance 'last:2+llrd:0.75'"
            )
    draft = from_terms(terms, net, run_length, seed)[0]
    segment = dataclasses.replace(
        draft.segment,
        start=start,
        restart=bool(fields['restart']),
        reinit=matching(fields['reinit'] or (), net),
    )
    return Draft(
        segment,
        draft.groups,
        {path: rate * draft.factors.get(path, 1.0) for path in net.shapes},
        fields['norm'] or asked(reversed(terms), 'norm'),
        fields['noise'] or asked(reversed(terms), 'noise'),
        tuple(terms),
    )
