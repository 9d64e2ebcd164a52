"""Whether features are worth storing: forward passes saved against one pass, and the room."""

from __future__ import annotations

import dataclasses
import math
import os

from ftjax.training.features import Passed

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
