"""How a plan's phases come about: policies on head, norms and noise applied to a draft."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.plan.phase import Leaf, Phase, StagePlan
from ftjax.freezing.registry import Term, parse, runs_asked
from ftjax.freezing.rules import FROZEN
from ftjax.freezing.segment import Segment
from ftjax.freezing.settings import EXTRA_KINDS, FreezeSettings
from ftjax.models.stages import Mode


def extra_terms(settings: FreezeSettings) -> list[Term]:
    """The terms that stand beside phases; UserError for one that decides what trains when."""
    terms = [] if settings.strategy == 'full' else parse(settings.strategy)
    for term in terms:
        if term.details.kind not in EXTRA_KINDS:
            raise UserError(
                f'freeze has phases, and {term}, which decides {term.details.said} too; keep one'
            )
    return terms


def with_head(
    settings: FreezeSettings, net: Anatomy, groups: Mapping[str, str], terms: Sequence[Term]
) -> dict[str, str]:
    """The groups once `freeze.head` has its say.

    A pretrained decoder's head is no head of the task: under `auto` a strategy that trains a part
    of the network leaves it frozen, unless it is the head that it is for. Rules are obeyed as they
    stand: `terms` are the strategy that named the groups, none where rules did.
    """
    groups, loaded = dict(groups), net.head - net.adapters
    by_steps = any(term.details.kind in ('schedule', 'data_driven') for term in terms)
    if settings.head == 'auto' and net.keeps_head and terms and not by_steps:
        trains = {groups[path] != FROZEN for path in net.leaves - loaded}
        if trains == {True, False}:
            groups |= dict.fromkeys(loaded, FROZEN)
    if settings.head != 'auto':
        for path in net.head:
            if settings.head == 'freeze':
                groups[path] = FROZEN
            elif groups[path] == FROZEN:
                groups[path] = 'trunk'
    return groups


def make_phase(
    net: Anatomy,
    settings: FreezeSettings,
    spared: frozenset[str],
    norm: str,
    noise: str,
    segment: Segment,
    groups: Mapping[str, str],
    factors: Mapping[str, float],
    open_: frozenset[str] | None = None,
) -> Phase:
    """A phase from what a strategy opens, its groups and the rate rule's factors.

    From `spared` leaves weight decay takes nothing. `open_` are the leaves that decide how the
    stages run, where some that are in a group are held by a rate of 0.
    """
    leaves = {
        path: Leaf(
            path=path,
            stage=path.split('/')[0],
            shape=net.shapes[path],
            dtype=net.dtypes[path],
            group=groups[path],
            multiplier=float(factors.get(path, 1.0) * segment.multipliers.get(path, 1.0)),
            decay=decays(settings, net.shapes[path]) and path not in spared,
            anneal=segment.anneal.get(path),
            stored=stored_as(settings, net.dtypes[path]) if groups[path] == FROZEN else None,
        )
        for path in net.shapes
    }
    trained = {
        path.split('/')[0]
        for path, group in groups.items()
        if group != FROZEN and (open_ is None or path in open_)
    }
    stages = plan_stages(net, trained, norm, noise == 'off')
    reinit = tuple(sorted(segment.reinit))
    return Phase(segment.start, leaves, stages, segment.restart, reinit, norm=norm, noise=noise)


def decays(settings: FreezeSettings, shape: Sequence[int]) -> bool:
    """Whether weight decay acts on leaves of some shape, if nothing spares them."""
    return settings.decay_vectors or len(shape) > 1


def stored_as(settings: FreezeSettings, dtype: str) -> str | None:
    """The smaller dtype that frozen leaves of some dtype are held in, if there is one."""
    return settings.frozen_dtype if dtype == 'float32' else None


def plan_stages(
    net: Anatomy, trained: Collection[str], norm: str, quiet: bool
) -> dict[str, StagePlan]:
    """How each stage runs: those that are not trained without noise, by fixed statistics."""
    with_stats = {path.split('/')[0] for path in net.stats}
    plans = {}
    for name in net.stages:
        trains = name in trained
        moving = name in with_stats and (norm == 'train' or (norm == 'follow_mask' and trains))
        mode = Mode(deterministic=quiet or not trains, batch_stats=moving)
        plans[name] = StagePlan(name=name, trains=trains, mode=mode)
    return plans


def check_changes(settings: FreezeSettings, terms: Sequence[Term], phases: Sequence[Phase]) -> None:
    """UserError where a schedule opens nothing that the mask beside it would train."""
    schedule = next((term for term in terms if term.details.kind == 'schedule'), None)
    masks = [term for term in terms if term.details.kind in ('mask', 'adapter')]
    if schedule is None or not masks or len(phases) < 2:
        return
    first = phases[0]
    same = (phase.leaves == first.leaves and not phase.reinit for phase in phases[1:])
    if all(same) and not any(phase.restart for phase in phases):
        raise UserError(
            f'freeze {settings.described!r}: {schedule} changes nothing of what '
            f'{"+".join(map(str, masks))} trains; drop one of the two'
        )


def check_regularisers(
    settings: FreezeSettings, net: Anatomy, terms: Sequence[Term], phases: Sequence[Phase]
) -> None:
    """UserError for a regulariser that acts on nothing that trains."""
    trained = frozenset().union(*(phase.moving for phase in phases))
    pretrained = trained - net.new_head - net.adapters
    for term in terms:
        least = term.details.least_ndim
        if least is not None and all(len(net.shapes[path]) < least for path in pretrained):
            what = 'matrix with pretrained values' if least == 2 else 'leaf with pretrained values'
            raise UserError(
                f'freeze {settings.described!r}: {term} does nothing, because no {what} trains; '
                'drop it, or train a part of the network: last:1, for instance'
            )


def check_average(
    settings: FreezeSettings, net: Anatomy, terms: Sequence[Term], phases: Sequence[Phase]
) -> None:
    """UserError where the weights that are averaged would have no common start."""
    term = next((term for term in terms if term.details.kind == 'weights'), None)
    if term is None:
        return
    drawn = frozenset(path for phase in phases for path in phase.reinit)
    if runs_asked(terms) == 1:
        drawn -= net.new_head  # one run is averaged with its start, under its own new head
    if drawn:
        raise UserError(
            f'freeze {settings.described!r}: {term} averages weights that go back to one start, '
            f'and {min(drawn)} is re-initialised in each run; drop one of the two'
        )
