"""Blocks chosen from data: AutoFreeze's gradient changes and SubTuning's greedy search."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.data_driven_choice import Choice
from ftjax.freezing.registry import strategy
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.strategies.unfreezing import groups_of
from ftjax.ranges import above, at_least, between


def between_intervals(run_length: RunLength, intervals: int, **_: object) -> tuple[int, ...]:
    """The steps that end each interval but the last."""
    return tuple(sorted({run_length.share(n / intervals) for n in range(1, intervals)} - {0}))


def check_all_blocks(net: Anatomy, trainable: Collection[str]) -> None:
    """UserError where some block has nothing that may train."""
    for group in groups_of(net):
        if net.within(*group) and not net.within(*group) & frozenset(trainable):
            raise UserError(f'autofreeze: nothing in {"+".join(group)} trains; open all blocks')


@strategy(
    'autofreeze',
    'data_driven',
    intervals=10,
    percentile=50.0,
    source='Liu et al. 2021, arXiv:2102.01386, and its code',
    options={'when': between_intervals, 'record': True, 'check': check_all_blocks},
    ranges={'intervals': between(1, 10000), 'percentile': between(0, 100)},
)
def autofreeze(net: Anatomy, probe, earlier, step: int, intervals: int, percentile: float):
    """At intervals, freezes the lowest blocks, whose summed gradient changes least.

    A block's change is |previous - present| / previous of the L1 norm of the gradients summed
    over an interval; the lowest block at or above the percentile is the new start.
    """
    del intervals
    groups = [net.within(*group) for group in groups_of(net)]
    frozen = earlier[-1].evidence['frozen_groups'] if earlier else 0
    norms = []
    for group in groups:
        inside = [probe.recorded[path] for path in sorted(group) if path in probe.recorded]
        norms.append(sum(float(np.abs(np.asarray(g, np.float64)).sum()) for g in inside))
    changes: list[float] = []
    if earlier:
        before = earlier[-1].evidence['norms']
        pairs = list(zip(before, norms, strict=True))[frozen:]
        changes = [abs(old - new) / old if old else 0.0 for old, new in pairs]
        limit = np.percentile(changes, percentile)
        frozen += next(i for i, change in enumerate(changes) if change >= limit)
    closed = frozenset().union(*groups[:frozen])
    evidence = {
        'frozen_groups': frozen,
        'norms': norms,
        'changes': changes,
        'by_stage': {
            name: float(number >= frozen)
            for number, group in enumerate(groups_of(net))
            for name in group
        },
    }
    return Choice(step, {path: float(path not in closed) for path in probe.params}, evidence)


@strategy(
    'subtuning',
    'data_driven',
    eps=0.01,
    folds=3,
    epochs=4.0,
    source='SubTuning, arXiv:2302.06354, and its code',
    options={'when': lambda run_length, **_: (0,)},
    ranges={'eps': at_least(0), 'folds': at_least(2), 'epochs': above(0)},
)
def subtuning(net: Anatomy, probe, earlier, step: int, eps: float, folds: int, epochs: float):
    """Adds blocks one by one, the best by cross-validated accuracy, while it gains eps.

    Every candidate trains for `epochs` on all but one of `folds` parts of the training split;
    what lies above the blocks trains always.
    """
    del earlier
    may = frozenset(probe.params)
    found = {'+'.join(group): net.within(*group) & may for group in groups_of(net)}
    groups = {name: leaves for name, leaves in found.items() if leaves}
    open_ = net.within(*net.top) & may
    # Nothing above the blocks may train: the best single block is the start.
    best = probe.trial(open_, folds, epochs) if open_ else -np.inf
    rounds, chosen = [], []
    while len(chosen) < len(groups):
        scores = {
            name: probe.trial(open_ | leaves, folds, epochs)
            for name, leaves in groups.items()
            if name not in chosen
        }
        rounds.append(scores)
        winner = max(scores, key=lambda name: scores[name])
        if scores[winner] - best < eps:
            break
        best = scores[winner]
        chosen.append(winner)
        open_ |= groups[winner]
    evidence = {
        'chosen': chosen,
        'rounds': rounds,
        'accuracy': best,
        'by_stage': {stage: float(name in chosen) for name in found for stage in name.split('+')},
    }
    return Choice(step, {path: float(path in open_) for path in probe.params}, evidence)
