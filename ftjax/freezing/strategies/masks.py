"""Static masks: which leaves train, the same ones from the first step to the last.

A mask strategy is a function of an Anatomy (and its own parameters) that returns the set of
trainable leaves. Definitions follow the code or the full text that each source names.
"""

from __future__ import annotations

import re

from ftjax.errors import UserError
from ftjax.freezing.anatomy import Anatomy
from ftjax.freezing.registry import strategy
from ftjax.ranges import at_least


@strategy('full', 'mask')
def full(net: Anatomy):
    """Every leaf."""
    return net.leaves


@strategy('head', 'mask', source='linear probe')
def head(net: Anatomy):
    """The head alone (linear probe)."""
    return require(net.head, 'head', net)


@strategy('last', 'mask', k=1, source='MAE, arXiv:2111.06377, fig. 9', ranges={'k': at_least(0)})
def last(net: Anatomy, k: int):
    """The last k blocks, what follows them, and the head."""
    return net.within(*counted(net, k)[len(net.blocks) - k :], *net.top)


@strategy('first', 'mask', k=1, ranges={'k': at_least(0)})
def first(net: Anatomy, k: int):
    """The stem and the first k blocks, and the head where its classes are new."""
    return net.within(*net.stem, *counted(net, k)[:k]) | net.new_head


@strategy(
    'freeze_bottom',
    'mask',
    k=1,
    source='Lee, Tang and Lin 2019, arXiv:1911.03090',
    ranges={'k': at_least(0)},
)
def freeze_bottom(net: Anatomy, k: int):
    """Everything but the embeddings and the first k blocks."""
    return net.leaves - net.within(*net.stem, *counted(net, k)[:k])


@strategy(
    'block',
    'mask',
    k=1,
    source='surgical fine-tuning, arXiv:2210.11466',
    options={'norm': 'frozen', 'noise': 'off'},
    ranges={'k': at_least(0)},
)
def block(net: Anatomy, k: int):
    """One contiguous block, the first with the stem; the head only where its classes are new."""
    if not 1 <= k <= len(net.sections):
        raise UserError(f'block:{k}: the network has blocks 1 to {len(net.sections)}')
    return net.within(*net.sections[k - 1]) | net.new_head


@strategy('blocks', 'mask', range='0-0', source='mid-block tuning, arXiv:2604.11838')
def blocks(net: Anatomy, range: str):
    """Blocks a to b of `a-b`, counted from 0, b included; the head where its classes are new.

    In percent of the depth L, `20%-80%` are the blocks from int(.2 L) to before int(.8 L). Below
    block a no gradient is computed; what lies above b passes it on and stays as it is.
    """
    first, last = block_range(range, len(net.blocks))
    return net.within(*net.blocks[first:last]) | net.new_head


def block_range(text: str, depth: int) -> tuple[int, int]:
    """First block and the one after the last of '2-5' or '20%-80%'; UserError otherwise.

    >>> block_range('2-5', 12), block_range('20%-80%', 12)
    ((2, 6), (2, 9))
    """
    found = re.fullmatch(r'(\d{1,4})(%?)-(\d{1,4})(%?)', text)
    if found is None or found[2] != found[4]:
        raise UserError(
            f"blocks:{text}: expected two numbers of blocks, 'blocks:2-5', or two shares of the "
            "depth, 'blocks:20%-80%'"
        )
    low, high = int(found[1]), int(found[3])
    if found[2]:
        first, after = low * depth // 100, high * depth // 100
        if high > 100:
            raise UserError(f'blocks:{text}: a share of the depth is at most 100%')
    else:
        first, after = low, high + 1
        if after > depth:
            raise UserError(f'blocks:{text}: the network has blocks 0 to {depth - 1}')
    if first >= after:
        raise UserError(f'blocks:{text} holds no block of the {depth}; expected the lower first')
    return first, after


@strategy('bitfit', 'mask', source='BitFit, arXiv:2106.10199')
def bitfit(net: Anatomy):
    """Every bias, those of the norms included, and the whole head."""
    return require(net.matching(r'/bias$') | net.head, 'bias', net)


@strategy('norm', 'mask', source='T-Few, arXiv:2205.05638; Frankle 2021, arXiv:2003.00152')
def norm(net: Anatomy):
    """Scales and biases of the normalisation layers, and the head."""
    return require(net.norms, 'normalisation', net) | net.head


@strategy('freeze_embed', 'mask', source='arXiv:2211.09359')
def freeze_embed(net: Anatomy):
    """All but the patch, word or stem embedding that comes before the first block."""
    return net.leaves - net.within(*net.stem)


@strategy('attention', 'mask', source='DeiT --attn-only; Touvron 2022, arXiv:2203.09795')
def attention(net: Anatomy):
    """Attention weights, position embeddings and the head; norms and perceptrons frozen."""
    found = require(net.roles['attention'], 'attention', net)
    return found | net.roles['position'] | net.head


@strategy('mlp', 'mask', source='Touvron 2022, arXiv:2203.09795')
def mlp(net: Anatomy):
    """The blocks' perceptrons and the head: the complement control of attention."""
    return require(net.roles['mlp'], 'perceptron', net) | net.head


@strategy('mlp_in', 'mask', source='arXiv:2510.08564')
def mlp_in(net: Anatomy):
    """Layers that lead into the perceptrons (gate and up, or the first of two), and the head."""
    found = net.roles['mlp'] & net.matching(r'/(gate|up|fc1)/(kernel|bias)$')
    return require(found, 'gate, up or fc1', net) | net.head


@strategy('attention_proj', 'mask', source='arXiv:2510.08564')
def attention_proj(net: Anatomy):
    """Queries, keys, values and outputs of attention, and the head: the twin of mlp_in."""
    found = net.roles['attention'] & net.matching(r'/(kernel|bias)$')
    return require(found - net.roles['position'] - net.norms, 'attention', net) | net.head


def counted(net: Anatomy, k: int) -> tuple[str, ...]:
    """The network's blocks, once k is known to be a possible number of them."""
    if not 0 <= k <= len(net.blocks):
        raise UserError(
            f'{k} blocks asked for; the network has {len(net.blocks)}: '
            f'{net.blocks[0]} .. {net.blocks[-1]}'
        )
    return net.blocks


def require(leaves: frozenset[str], what: str, net: Anatomy) -> frozenset[str]:
    """`leaves`, or a UserError when the network has none of the kind."""
    if not leaves:
        raise UserError(f'the network has no {what} leaves; its stages: {", ".join(net.stages)}')
    return leaves
