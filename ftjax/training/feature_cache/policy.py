"""Whether features are worth storing: forward passes saved against one pass, and the room."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import TYPE_CHECKING

from ftjax.data.augmentation import of_kind, parse_augment
from ftjax.freezing.plan.phase import Phase
from ftjax.freezing.plan.plan import Plan

if TYPE_CHECKING:
    from ftjax.training.feature_cache.compute import Passed

COPIED = 50.0
"""FLOPs a byte below which computing is as cheap as reading what was computed: a CPU of 100
GFLOP/s that copies a few GB/s."""
SHARE = 0.25
"""Most of the machine's memory that features may take."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What was decided, and the line that says why."""

    store: bool
    files: bool
    line: str


@dataclasses.dataclass(frozen=True)
class Uses:
    """How often a phase asks for the stages before its cut."""

    examples: int
    """Different inputs: of training, all views counted, and of validation."""
    passes: int
    """Examples that go through them without a cache, over the whole phase."""


def decide(mode: str, cut: str, passed: Passed, uses: Uses, budget: int) -> Decision:
    """Stores where that is asked for, or where it is cheaper and fits the budget in bytes.

    A function of the config, the data and the machine alone, never of what is stored already
    or free right now: an interrupted run must decide the same when it goes on.
    """
    size = uses.examples * passed.bytes
    saved = uses.passes / max(uses.examples, 1)
    what = (
        f'stages before {cut!r}: {counted(passed.flops * uses.passes)} of forward passes without '
        f'a cache, {counted(passed.flops * uses.examples)} with it ({compared(saved)}), '
        f'{sized(size)}'
    )
    fits = size <= budget
    if mode == 'on':
        where = 'in memory' if fits else f'in files, more than the {sized(budget)} of memory'
        return Decision(True, not fits, f'features stored {where}; {what}')
    reason = None
    if not fits:
        reason = f"more than {sized(budget)}; train.cache='on' stores them in files"
    elif saved <= 1:
        reason = 'no pass is saved'
    elif passed.flops < COPIED * passed.bytes:
        reason = 'computing them is as cheap as reading them'
    if reason is not None:
        return Decision(False, False, f'features not stored: {reason}; {what}')
    return Decision(True, False, f'features stored in memory; {what}')


def compared(saved: float) -> str:
    """How many passes a cache leaves, of a number of passes without it for each with it.

    >>> compared(10.0), compared(1.0), compared(0.8)
    ('10.0 times fewer', 'as many', '1.2 times as many')
    """
    if saved >= 1.05:
        return f'{saved:.1f} times fewer'
    return 'as many' if saved > 0.95 else f'{1 / max(saved, 1e-9):.1f} times as many'


def memory_budget(wanted: int) -> int:
    """Bytes that features may take in memory: as wanted, or a share of what the machine has."""
    try:
        whole = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, OSError, ValueError):
        return wanted
    return min(wanted, int(SHARE * whole)) if whole > 0 else wanted


def counted(flops: float) -> str:
    """FLOPs as people say them.

    >>> counted(2.5e12), counted(3e8)
    ('2.5 TFLOP', '0.3 GFLOP')
    """
    if math.isnan(flops):
        return 'a number of FLOPs that is not known'
    return f'{flops / 1e12:.3g} TFLOP' if flops >= 1e12 else f'{flops / 1e9:.3g} GFLOP'


def sized(size: float) -> str:
    """Bytes as people say them."""
    return f'{size / 1e9:.3g} GB' if size >= 1e9 else f'{size / 1e6:.3g} MB'


def refusal(plan: Plan, phase: Phase, augmentation: str = 'none', views: int = 1) -> str | None:
    """The reason why a phase cannot start at its cut, in a few words; None if it can.

    >>> import jax
    >>> from ftjax.freezing.plan.plan import make_plan
    >>> from ftjax.models.registry import build
    >>> net = build('vit', {'depth': 2, 'width': 8, 'heads': 2, 'image_size': 16})
    >>> shapes = jax.eval_shape(net.init, jax.random.key(0), net.example_input())
    >>> plan = make_plan('last:1', net, shapes)
    >>> refusal(plan, plan.at(0)), refusal(plan, plan.at(0), 'flip')
    (None, "data.augment 'flip' draws anew at every step; train.cache_views=K fixes K views")
    >>> refusal(full := make_plan('full', net, shapes), full.at(0))
    "no stage lies before the cut: the first one, 'embed', trains"
    """
    names = list(phase.stages)
    before = names[: names.index(phase.cut)]
    if not before:
        return f'no stage lies before the cut: the first one, {phase.cut!r}, trains'
    for name in before:
        mode = phase.modes[name]
        if mode.batch_stats:
            return (
                f'stage {name!r} before the cut normalises by the batch and moves its '
                "statistics (freeze.norm='frozen' fixes them)"
            )
        if not mode.deterministic:
            return f'stage {name!r} before the cut runs with noise (dropout, stochastic depth)'
    mixing = of_kind(parse_augment(augmentation), 'batches')
    if mixing:
        return f'data.augment {str(mixing[0])!r} mixes other examples at every step'
    if parse_augment(augmentation) and views == 1:
        return (
            f'data.augment {augmentation!r} draws anew at every step; '
            'train.cache_views=K fixes K views'
        )
    return changed_before(plan, phase, frozenset(before))


def changed_before(plan: Plan, phase: Phase, before: frozenset[str]) -> str | None:
    """The reason if weights before the cut are not those that were loaded."""
    for other in plan.phases:
        if other.start > phase.start:
            continue
        anew = [path for path in other.reinit if path.split('/')[0] in before]
        if anew:
            return f'{anew[0]} before the cut is given random values at step {other.start}'
        moved = other.moving if other.start < phase.start else frozenset()
        known = [path for path in sorted(moved) if path.split('/')[0] in before]
        if known:
            return (
                f'{known[0]} before the cut trains in the phase from step {other.start} on, so '
                'the stages before the cut are no longer those that were loaded'
            )
        if other.start < phase.start:
            stats = [name for name in other.moving_stats if name in before]
            if stats:
                return (
                    f'the statistics of {stats[0]!r} before the cut move in the phase from step '
                    f'{other.start} on'
                )
    return None
