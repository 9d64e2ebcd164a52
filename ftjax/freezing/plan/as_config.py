"""The phases of a plan as a user writes them: rules that a person can read and edit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ftjax.errors import UserError
from ftjax.freezing.plan.phase import Leaf, Phase
from ftjax.freezing.plan.phase_builder import decays
from ftjax.freezing.plan.plan import Plan
from ftjax.freezing.rules import FROZEN
from ftjax.freezing.settings import EXTRA_KINDS, FreezeSettings
from ftjax.freezing.strategies.adapters import terms_of


def written(plan: Plan, settings: FreezeSettings) -> dict[str, object]:
    """`config.freeze` with the plan's phases written out; it makes the same plan again.

    Raises UserError for a plan whose phases are decided while it runs.
    """
    chooser = plan.term('data_driven')
    if chooser is not None:
        raise UserError(
            f'{chooser} decides from data while it runs, so its phases cannot be written before; '
            'run it: its plan.json then holds them'
        )
    # Adapters of its phases too: the network has them from the first step on.
    terms = {str(term): term for term in (*plan.terms, *terms_of(settings))}
    kinds = {name: term.details.kind for name, term in terms.items()}
    extra = '+'.join(name for kind in EXTRA_KINDS for name in terms if kinds[name] == kind)
    ends = [*(phase.start for phase in plan.phases[1:]), None]
    freeze: dict[str, object] = {'strategy': extra} if extra else {}
    freeze |= {
        'norm': 'recompute' if plan.recompute else plan.norm,
        'noise': plan.noise,
        'optimizer_state': plan.optimizer_state,
        'rewarm': plan.rewarm,
        'decay_vectors': settings.decay_vectors,
    }
    spared = {
        path
        for phase in plan.phases
        for path, leaf in phase.leaves.items()
        if leaf.group != FROZEN and not leaf.decay and decays(settings, leaf.shape)
    }
    if spared:
        paths = plan.phases[0].leaves
        rules = rules_of({path: 'spared' if path in spared else FROZEN for path in paths})
        freeze['undecayed'] = f'^({"|".join(p for p, group in rules if group == "spared")})$'
    if settings.frozen_dtype is not None:
        freeze['frozen_dtype'] = settings.frozen_dtype
    freeze['phases'] = tuple(
        written_phase(plan, phase, end) for phase, end in zip(plan.phases, ends, strict=True)
    )
    return freeze


def written_phase(plan: Plan, phase: Phase, end: int | None) -> dict[str, object]:
    """One phase, with a group of its own for every rate there is."""
    kinds: dict[tuple[float, float | None], str] = {}
    groups = {}
    for path, leaf in phase.leaves.items():
        groups[path] = FROZEN if leaf.group == FROZEN else name_of(leaf, kinds)
    found: dict[str, object] = {
        'until': None if end is None else f'{end} steps',
        'rules': rules_of(groups),
    }
    multipliers = {name: rate for (rate, _), name in kinds.items() if rate != 1.0}
    anneal = {name: at for (_, at), name in kinds.items() if at is not None}
    for key, value in (('multipliers', multipliers), ('anneal', anneal)):
        if value:
            found[key] = value
    for key, value, common in (
        ('norm', phase.norm, plan.norm),
        ('noise', phase.noise, plan.noise),
    ):
        if value != common:
            found[key] = value
    if phase.restart:
        found['restart'] = True
    if phase.reinit:
        inside = {p: 'yes' if p in phase.reinit else FROZEN for p in phase.leaves}
        found['reinit'] = tuple(p for p, group in rules_of(inside) if group == 'yes')
    return found


def name_of(leaf: Leaf, kinds: dict[tuple[float, float | None], str]) -> str:
    """The name of the group for a leaf's rate: what it is grouped as, numbered where several."""
    key = leaf.multiplier, leaf.anneal
    if key not in kinds:
        kinds[key] = f'rate_{len(kinds)}'
    return kinds[key]


def rules_of(groups: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Ordered rules that give every leaf its group, by whole stages where they can.

    >>> rules_of({'a/w': 'x', 'a/b': 'x', 'b/w': 'x', 'c/w': 'y', 'c/b': 'frozen'})
    (('(a|b)/.*', 'x'), ('c/w', 'y'), ('.*', 'frozen'))
    """
    stages: dict[str, dict[str, str]] = {}
    for path, group in groups.items():
        stage, _, rest = path.partition('/')
        stages.setdefault(stage, {})[rest] = group
    # What is left over at the end goes to one rule: frozen leaves, or those of the last group.
    last = FROZEN if FROZEN in groups.values() else list(groups.values())[-1]
    rules: list[tuple[str, str]] = []
    for group in dict.fromkeys(groups.values()):
        if group == last:
            continue
        whole = [s for s, leaves in stages.items() if set(leaves.values()) == {group}]
        if whole:
            rules.append((f'{either(whole)}/.*', group))
        for stage, leaves in stages.items():
            inside = [rest for rest, own in leaves.items() if own == group]
            if inside and stage not in whole:
                rules.append((f'{re.escape(stage)}/{either(inside)}', group))
    return (*rules, ('.*', last))


def either(names: Iterable[str]) -> str:
    """A pattern that matches any of some names."""
    quoted = [re.escape(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f'({"|".join(quoted)})'
