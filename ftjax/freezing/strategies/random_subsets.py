"""Schedules that draw what trains, anew every so often, from the run's seed."""

from __future__ import annotations

import numpy as np

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.registry import strategy
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.segment import Segment
from ftjax.ranges import at_least, between


@strategy(
    'lisa',
    'schedule',
    blocks=2,
    every=20,
    source='LISA, arXiv:2403.17919; LMFlow',
    ranges={'blocks': at_least(1), 'every': at_least(1)},
)
def lisa(net: Anatomy, run_length: RunLength, seed: int, blocks: int, every: int):
    """Embeddings and head always; every so many steps another uniform sample of blocks."""
    if not 1 <= blocks <= len(net.blocks):
        raise UserError(f'lisa: {blocks} blocks asked for; the network has {len(net.blocks)}')
    always = net.within(*net.stem, *net.top)
    segments = []
    for number, start in enumerate(range(0, run_length.steps, every)):
        drawn = np.random.default_rng((seed, number)).choice(net.blocks, blocks, replace=False)
        segments.append(Segment(start, always | net.within(*map(str, drawn))))
    return segments


@strategy(
    'hft',
    'schedule',
    rounds=4,
    share=0.5,
    source='HFT, arXiv:2404.18466',
    ranges={'rounds': between(1, 1000), 'share': between(0, 1, ends='high')},
)
def hft(net: Anatomy, run_length: RunLength, seed: int, rounds: int, share: float):
    """Each round a random half of the trunk's matrices trains; vectors and the head always."""
    names = sorted(net.matrices)
    segments = []
    for number in range(rounds):
        keep = max(1, round(share * len(names)))
        drawn = np.random.default_rng((seed, number)).choice(names, keep, replace=False)
        open_ = (net.leaves - net.matrices) | frozenset(map(str, drawn))
        segments.append(Segment(run_length.share(number / rounds), open_))
    return segments
