"""Schedules that re-initialise some leaves, at the start or during training."""

from __future__ import annotations

from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.registry import strategy
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.segment import Segment
from ftjax.freezing.strategies.masks import counted
from ftjax.ranges import at_least, between


@strategy(
    'rifle',
    'schedule',
    times=3,
    rest=5.0,
    source='RIFLE, arXiv:2007.03349',
    ranges={'times': between(1, 1000), 'rest': at_least(0)},
)
def rifle(net: Anatomy, run_length: RunLength, seed: int, times: int, rest: float):
    """Everything trains; the head is re-initialised every N/times epochs, not in the last ones.

    `rest` is how many epochs at the end stay without one.
    """
    del seed
    starts = [run_length.share(n / times) for n in range(1, times)]
    starts = [start for start in starts if start < run_length.steps - run_length.epoch(rest)]
    again = [Segment(start, net.leaves, reinit=net.head) for start in starts]
    return [Segment(0, net.leaves), *again]


@strategy(
    'reinit_top',
    'schedule',
    n=5,
    source='Zhang et al. 2021, arXiv:2006.05987',
    ranges={'n': at_least(0)},
)
def reinit_top(net: Anatomy, run_length: RunLength, seed: int, n: int):
    """The pooler and the last n blocks start from random values; then everything trains."""
    del run_length, seed
    blocks = counted(net, n)[len(net.blocks) - n :]
    pooler = [name for name in net.top if name == 'pooler']
    return [Segment(0, net.leaves, reinit=net.within(*blocks, *pooler))]


@strategy(
    'anb',
    'schedule',
    n=1,
    source='Yosinski et al. 2014, arXiv:1411.1792',
    options={'norm': 'follow_mask'},
    ranges={'n': at_least(0)},
)
def anb(net: Anatomy, run_length: RunLength, seed: int, n: int):
    """AnB: stem and first n blocks copied and frozen, the rest from random values."""
    del run_length, seed
    above = net.leaves - net.within(*net.stem, *counted(net, n)[:n])
    return [Segment(0, above, reinit=above)]


@strategy(
    'anb_plus',
    'schedule',
    n=1,
    source='Yosinski et al. 2014, arXiv:1411.1792',
    ranges={'n': at_least(0)},
)
def anb_plus(net: Anatomy, run_length: RunLength, seed: int, n: int):
    """AnB+: stem and first n blocks copied, the rest from random values, all trained."""
    del run_length, seed
    above = net.leaves - net.within(*net.stem, *counted(net, n)[:n])
    return [Segment(0, net.leaves, reinit=above)]
