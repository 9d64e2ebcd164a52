"""Schedules that open a network bit by bit.

A schedule is a function (net, run_length, seed, **parameters) -> list of Segment.
"""

from __future__ import annotations

import math

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.registry import strategy
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.segment import Segment
from ftjax.ranges import above, between


@strategy(
    'lp_ft',
    'schedule',
    share=0.5,
    rate=1.0,
    source='Kumar et al. 2022, arXiv:2202.10054',
    options={'norm': 'frozen'},
    ranges={'share': between(0, 1, ends='none'), 'rate': above(0)},
)
def lp_ft(net: Anatomy, run_length: RunLength, seed: int, share: float, rate: float):
    """The head alone for a share of the steps, then everything; a schedule for each.

    `rate` multiplies the learning rate of the second part. The authors fit the head by LBFGS;
    here it is trained by the run's own optimizer.
    """
    del seed
    whole = dict.fromkeys(net.leaves, rate)
    turn = min(max(run_length.share(share), 1), max(run_length.steps - 1, 1))
    return [Segment(0, net.head), Segment(turn, net.leaves, whole, restart=True)]


@strategy(
    'gradual',
    'schedule',
    epochs=1.0,
    source='ULMFiT, arXiv:1801.06146',
    ranges={'epochs': above(0)},
)
def gradual(net: Anatomy, run_length: RunLength, seed: int, epochs: float):
    """Epoch e trains the head, what lies above the blocks, and the top e groups."""
    del seed
    groups = groups_of(net)[::-1]
    return opened(net, [run_length.epoch(epochs * e) for e in range(len(groups) + 1)], groups)


@strategy(
    'gradual_first',
    'schedule',
    epochs=1.0,
    source='surgical fine-tuning, arXiv:2210.11466',
    ranges={'epochs': above(0)},
)
def gradual_first(net: Anatomy, run_length: RunLength, seed: int, epochs: float):
    """Epoch e trains the head, what lies above the blocks, and the lowest e groups."""
    del seed
    groups = groups_of(net)
    return opened(net, [run_length.epoch(epochs * e) for e in range(len(groups) + 1)], groups)


@strategy(
    'gradual_steps',
    'schedule',
    warmup=0.0,
    cooldown=0.2,
    ranges={'warmup': between(0, 1, ends='low'), 'cooldown': between(0, 1, ends='low')},
)
def gradual_steps(net: Anatomy, run_length: RunLength, seed: int, warmup: float, cooldown: float):
    """The number of open groups grows linearly in steps, from the top.

    For a share `warmup` of the steps the head trains alone; for the last share `cooldown` all
    groups are open.
    """
    del seed
    if not 0 <= warmup < 1 or not 0 <= cooldown < 1 or warmup + cooldown >= 1:
        raise UserError(
            f'gradual_steps: warmup {warmup:g} and cooldown {cooldown:g} must be shares of the '
            'steps with a sum below 1'
        )
    groups = groups_of(net)[::-1]
    first, last = warmup * run_length.steps, (1 - cooldown) * run_length.steps
    times = [math.ceil(first + (last - first) * n / len(groups)) for n in range(len(groups) + 1)]
    return opened(net, [0, *times[1:]], groups)


@strategy(
    'chain_thaw',
    'schedule',
    rest=0.1,
    source='Felbo et al. 2017, arXiv:1708.00524',
    ranges={'rest': above(0)},
)
def chain_thaw(net: Anatomy, run_length: RunLength, seed: int, rest: float):
    """The head; then every group alone, first to last; then all, each for as many steps.

    `rest` multiplies the rate of all but the first part: the authors use 1e-3 and 1e-4.
    """
    del seed
    above = net.within(*net.top) - net.head
    parts = [net.head, *(net.within(*g) for g in groups_of(net)), above, net.leaves]
    parts = [part for part in parts if part]
    slow = dict.fromkeys(net.leaves, rest)
    return [
        Segment(run_length.share(n / len(parts)), part, slow if n else {})
        for n, part in enumerate(parts)
    ]


def groups_of(net: Anatomy) -> list[tuple[str, ...]]:
    """What is opened one at a time: the stem, then each block, from the input up."""
    return [net.stem, *((block,) for block in net.blocks)]


def opened(net: Anatomy, times: list[int], groups: list[tuple[str, ...]]) -> list[Segment]:
    """Segments that open one more group at each of the times; the top is open from the start."""
    segments, names = [], list(net.top)
    for n, time in enumerate(times):
        if n:
            names += groups[n - 1]
        segments.append(Segment(time, net.within(*names)))
    return segments
