"""Learning rates by depth: multipliers of every leaf, read off the sequence of stages.

A rate rule is a function of an Anatomy that returns {leaf: multiplier}. With L blocks counted
j = 0 .. L-1 from the input, what comes after the last block is the top and what comes before
the first the embeddings.
"""

from __future__ import annotations

from collections.abc import Callable

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.registry import strategy
from ftjax.ranges import above, at_least, between


def by_depth(net: Anatomy, top: float, factor: Callable[[int], float]) -> dict[str, float]:
    """Multipliers from `factor(depth)`: 1 for the top block, L for the lowest, L + 1 below."""
    depth = {name: len(net.blocks) - j for j, name in enumerate(net.blocks)}
    depth.update(dict.fromkeys(net.stem, len(net.blocks) + 1))
    stages = {name: factor(depth[name]) if name in depth else top for name in net.stages}
    return {path: stages[path.split('/')[0]] for path in net.shapes}


@strategy(
    'llrd',
    'rates',
    decay=0.75,
    source='BEiT, arXiv:2106.08254; MAE, arXiv:2111.06377',
    ranges={'decay': above(0)},
)
def llrd(net: Anatomy, decay: float):
    """Head and final norm 1, block j decay^(L-j), embeddings decay^(L+1)."""
    return by_depth(net, 1.0, lambda depth: decay**depth)


@strategy(
    'llrd_electra',
    'rates',
    decay=0.8,
    source='ELECTRA, arXiv:2003.10555',
    ranges={'decay': above(0)},
)
def llrd_electra(net: Anatomy, decay: float):
    """Head 1, block j decay^(L+1-j), embeddings decay^(L+2): one step lower than llrd."""
    return by_depth(net, 1.0, lambda depth: decay ** (depth + 1))


@strategy(
    'llrd_zhang',
    'rates',
    decay=0.95,
    source='Zhang et al. 2021, arXiv:2006.05987',
    ranges={'decay': above(0)},
)
def llrd_zhang(net: Anatomy, decay: float):
    """Head and pooler 1, block j decay^(L-j), embeddings decay^(L+1), with a mild decay."""
    return by_depth(net, 1.0, lambda depth: decay**depth)


@strategy(
    'discriminative',
    'rates',
    factor=2.6,
    source='ULMFiT, arXiv:1801.06146',
    ranges={'factor': above(0)},
)
def discriminative(net: Anatomy, factor: float):
    """Each group's rate is the one above it over 2.6, from the head downwards."""
    return by_depth(net, 1.0, lambda depth: factor**-depth)


@strategy(
    'loraplus',
    'rates',
    ratio=16.0,
    source='LoRA+, arXiv:2402.12354; its optimizer in PEFT decays no factor unless told to',
    ranges={'ratio': above(0)},
    options={'undecayed': r'/lora_[ab]$'},
)
def loraplus(net: Anatomy, ratio: float):
    """B of every pair of LoRA learns `ratio` times as fast as A, and neither decays.

    It stands beside the adapter: `lora:8+loraplus:16`.
    """
    second = net.matching(r'/lora_b$') & net.adapters
    if not second:
        raise UserError('loraplus acts on the factors of LoRA; write lora:8+loraplus:16')
    return {path: ratio if path in second else 1.0 for path in net.shapes}


@strategy(
    'stlr',
    'shape',
    cut=0.1,
    ratio=32.0,
    source='ULMFiT, arXiv:1801.06146',
    ranges={'cut': between(0, 1), 'ratio': at_least(1)},
)
def stlr(step: int, total: int, cut: float, ratio: float) -> float:
    """Slanted triangle: up for a share `cut` of the steps, then down to 1/ratio of the peak.

    >>> [round(stlr(step, 100, 0.1, 32.0), 4) for step in (0, 10, 55, 100)]
    [0.0312, 1.0, 0.5156, 0.0312]
    """
    turn = max(int(total * cut), 1)
    done = step / turn if step < turn else 1 - (step - turn) / max(total - turn, 1)
    return (1 + done * (ratio - 1)) / ratio
