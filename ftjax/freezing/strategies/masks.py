"""Static masks: which leaves train, the same ones from the first step to the last.

A mask strategy is a function of an Anatomy (and its own parameters) that returns the set of
trainable leaves. Definitions follow the code or the full text that each source names.
"""

from __future__ import annotations

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
