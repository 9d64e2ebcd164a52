"""Block-coordinate descent: one block trains at a time, each for as many steps."""

from __future__ import annotations

import numpy as np

from ftjax.errors import check_name
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.registry import strategy
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.segment import Segment
from ftjax.ranges import at_least

ORDERS = ('descending', 'ascending', 'random')


@strategy(
    'badam',
    'schedule',
    every=100,
    order='descending',
    source='BAdam, arXiv:2404.02827, and its code',
    options={'optimizer_state': 'reset'},
    ranges={'every': at_least(1)},
)
def badam(net: Anatomy, run_length: RunLength, seed: int, every: int, order: str):
    """One block at a time, `every` steps each, in turn; moments begin anew at each switch.

    `order` is descending (from the top), ascending, or random: another permutation each round.
    A head trains throughout where its classes are new, because nothing could be learned through
    a random one; stem, final norm and a pretrained head stay as they are, as in the released code.
    """
    check_name(order, ORDERS, 'order of badam')
    segments = []
    for number, start in enumerate(range(0, run_length.steps, every)):
        turn, place = divmod(number, len(net.blocks))
        names = list(net.blocks if order == 'ascending' else net.blocks[::-1])
        if order == 'random':
            names = [str(n) for n in np.random.default_rng((seed, turn)).permutation(net.blocks)]
        segments.append(Segment(start, net.within(names[place]) | net.new_head))
    return segments
