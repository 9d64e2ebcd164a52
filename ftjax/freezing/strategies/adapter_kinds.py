"""Strategies that add parameters and train those and the head, the trunk frozen.

A strategy of kind 'adapter' is a function (**parameters) -> Adapter; adapters.py puts what it
returns into the network.
"""

from __future__ import annotations

from ftjax.freezing.registry import strategy
from ftjax.models.adapters.adapter import Adapter
from ftjax.models.adapters.adapter_plus import AdapterPlus
from ftjax.models.adapters.bottleneck import Bottleneck
from ftjax.models.adapters.ia3 import IA3
from ftjax.models.adapters.lora import LoRA
from ftjax.models.adapters.oft import OFT
from ftjax.models.adapters.prompt import Prompt
from ftjax.models.adapters.ssf import SSF
from ftjax.ranges import above, between

RANKS = between(1, 2**16)


@strategy(
    'lora',
    'adapter',
    r=8,
    alpha=16.0,
    targets='query|value',
    source='LoRA, arXiv:2106.09685',
    ranges={'r': RANKS, 'alpha': above(0)},
)
def lora(r: int, alpha: float, targets: str) -> Adapter:
    """Adds alpha/r A B to queries and values (or `targets`), B 0 at first; mergeable."""
    return LoRA(r, alpha, targets)


@strategy(
    'rslora',
    'adapter',
    r=8,
    alpha=16.0,
    targets='query|value',
    source='rsLoRA, arXiv:2312.03732',
    ranges={'r': RANKS, 'alpha': above(0)},
)
def rslora(r: int, alpha: float, targets: str) -> Adapter:
    """LoRA scaled by alpha/sqrt(r), so that high ranks still learn; mergeable."""
    return LoRA(r, alpha, targets, stabilised=True)


@strategy(
    'dora',
    'adapter',
    r=8,
    alpha=16.0,
    targets='query|value',
    source='DoRA, arXiv:2402.09353',
    ranges={'r': RANKS, 'alpha': above(0)},
)
def dora(r: int, alpha: float, targets: str) -> Adapter:
    """LoRA on the direction of the weights, and a learned length of each column; mergeable."""
    return LoRA(r, alpha, targets, magnitude=True)


@strategy(
    'oft',
    'adapter',
    block=32,
    targets='query|value',
    source='OFT, arXiv:2306.07280, and its code in PEFT',
    ranges={'block': between(2, 2**12)},
)
def oft(block: int, targets: str) -> Adapter:
    """Rotates the inputs of queries and values (or `targets`) in blocks; mergeable."""
    return OFT(block, targets)


@strategy('ia3', 'adapter', source='T-Few, arXiv:2205.05638')
def ia3() -> Adapter:
    """Vectors, 1 at first, that scale keys, values and the perceptrons' inside; mergeable."""
    return IA3()


@strategy(
    'adapter',
    'adapter',
    reduction=8,
    source='Houlsby et al. 2019, arXiv:1902.00751',
    ranges={'reduction': RANKS},
)
def adapter(reduction: int) -> Adapter:
    """A residual bottleneck after each block, its last layer 0 at first."""
    return Bottleneck(reduction)


@strategy(
    'adapter_plus',
    'adapter',
    rank=8,
    source='Adapter+, arXiv:2406.06820, and its code',
    ranges={'rank': RANKS},
)
def adapter_plus(rank: int) -> Adapter:
    """A bottleneck after each block's skip, scaled a channel; near the identity at first."""
    return AdapterPlus(rank)


@strategy('ssf', 'adapter', source='SSF, arXiv:2210.08823')
def ssf() -> Adapter:
    """A scale and a shift after every layer, 1 and 0 at first; mergeable."""
    return SSF()


@strategy('prompt', 'adapter', n=5, source='VPT, arXiv:2203.12119', ranges={'n': RANKS})
def prompt(n: int) -> Adapter:
    """N learned tokens that go through all blocks beside the input's (VPT-shallow)."""
    return Prompt(n)


@strategy('prompt_deep', 'adapter', n=5, source='VPT, arXiv:2203.12119', ranges={'n': RANKS})
def prompt_deep(n: int) -> Adapter:
    """N learned tokens of its own for every block (VPT-deep)."""
    return Prompt(n, deep=True)
