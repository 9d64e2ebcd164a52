"""FreezeOut: layers stop training one after another, from the input up."""

from __future__ import annotations

import math

from ftjax.errors import check_name
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.registry import strategy
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.segment import Segment
from ftjax.ranges import between

CURVES = {'linear': 1, 'square': 2, 'cubic': 3}


def freezing_times(layers: int, t0: float, curve: str) -> list[float]:
    """When each layer freezes, as shares of the run: F(t0 + (1 - t0) i / (layers - 1)).

    >>> [round(t, 3) for t in freezing_times(3, 0.8, 'cubic')]
    [0.512, 0.729, 1.0]
    """
    power = CURVES[check_name(curve, CURVES, 'freezeout: curve')]
    return [(t0 + (1 - t0) * i / max(layers - 1, 1)) ** power for i in range(layers)]


@strategy(
    'freezeout',
    'schedule',
    t0=0.8,
    curve='cubic',
    scaled=1,
    source='Brock et al. 2017, arXiv:1706.04983, and its code',
    ranges={'t0': between(0, 1, ends='high'), 'scaled': between(0, 1)},
)
def freezeout(net: Anatomy, run_length: RunLength, seed: int, t0: float, curve: str, scaled: int):
    """Layer i anneals by a cosine of its own to 0 at t_i, and is frozen from there on.

    Layers are the stem, each block, and all above the blocks, which trains to the end. With
    `scaled`, the rate of a layer is divided by t_i so that all layers move as far.
    """
    del seed
    layers = [net.stem, *((block,) for block in net.blocks), net.top]
    layers = [net.within(*layer) for layer in layers]
    layers = [layer for layer in layers if layer]
    shares = freezing_times(len(layers), t0, curve)
    ends = [max(math.ceil(share * run_length.steps), 1) for share in shares]
    anneal = {
        path: share * run_length.steps
        for s, layer in enumerate(layers)
        for path in layer
        for share in [shares[s]]
    }
    factors = (
        {path: 1 / share for layer, share in zip(layers, shares, strict=True) for path in layer}
        if scaled
        else {}
    )
    segments = []
    for start in sorted({0, *ends[:-1]}):
        open_ = [layer for layer, end in zip(layers, ends, strict=True) if end > start]
        if open_:
            segments.append(Segment(start, frozenset().union(*open_), factors, anneal))
    return segments
