"""Strategies that add parameters and train those and the head, the trunk frozen.

A strategy of kind 'adapter' is a function (**parameters) -> Adapter; `with_adapters` puts the
adapters into the network before the plan is made.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.freezing.registry import Term, parse, strategy
from ftjax.freezing.settings import FreezeSettings
from ftjax.leaves import flatten, unflatten
from ftjax.models.adapters.adapted import Adapted, adapted
from ftjax.models.adapters.adapter import Adapter
from ftjax.models.adapters.adapter_plus import AdapterPlus
from ftjax.models.adapters.bottleneck import Bottleneck
from ftjax.models.adapters.ia3 import IA3
from ftjax.models.adapters.lora import LoRA
from ftjax.models.adapters.oft import OFT
from ftjax.models.adapters.prompt import Prompt
from ftjax.models.adapters.ssf import SSF
from ftjax.models.stages import Network
from ftjax.pretrained.initialise import random_leaves
from ftjax.pytrees import Variables
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
    """Adds alpha/r A B to the queries and values (or `targets`), B 0 at first; mergeable."""
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


def with_adapters(
    settings: FreezeSettings, network: Network, variables: Variables, seed: int = 0
) -> tuple[Network, dict[str, Any]]:
    """The network and its variables, or their shapes, with what the strategy adds.

    Raises UserError if the network has nothing that an adapter acts on.
    """
    terms = [term for term in terms_of(settings) if term.details.kind == 'adapter']
    if not terms:
        return network, dict(variables)
    if isinstance(network, Adapted):
        raise UserError(
            f'freeze {settings.described!r}: the network has adapters already; merge them first'
        )
    for term in terms[1:]:
        if term.name == 'dora':
            raise UserError(
                f'freeze {settings.described!r}: dora measures the weights as they were loaded; '
                'put it first'
            )
    adapters = [term() for term in terms]
    for number, one in enumerate(adapters):
        for other, term in zip(adapters[:number], terms, strict=False):
            if one.kind == other.kind:
                raise UserError(
                    f'freeze {settings.described!r}: {term} and {terms[number]} would add '
                    'parameters of the same names; keep one'
                )
    made = adapted(network, adapters)
    params = flatten(variables['params'])
    added = added_leaves(made)  # pyrefly: ignore
    check_each(terms, network, list(added), params)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in params.values()):
        return made, {**variables, 'params': unflatten({**params, **added})}
    found = random_leaves(made, {f'params/{path}' for path in added}, seed)
    whole = {**params, **{key.removeprefix('params/'): leaf for key, leaf in found.items()}}
    for one in adapters:
        whole.update(one.settle(OnDevice(whole)))
    return made, {**variables, 'params': unflatten(whole)}


@functools.lru_cache(maxsize=64)
def added_leaves(network: Adapted) -> Mapping[str, jax.ShapeDtypeStruct]:
    """Path -> shape of every leaf that adapters add to a network."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), network.example_input())['params']
    return {
        path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        for path, leaf in flatten(shapes).items()
        if network.is_adapter_leaf(path)
    }


class OnDevice(Mapping[str, Any]):
    """Leaves by path, each put on the device in float32 when it is asked for."""

    def __init__(self, leaves: Mapping[str, object]):
        self.leaves = leaves

    def __getitem__(self, path: str) -> jax.Array:
        leaf = jnp.asarray(self.leaves[path])
        return leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    def __iter__(self) -> Iterator[str]:
        return iter(self.leaves)

    def __len__(self) -> int:
        return len(self.leaves)


def check_each(terms: list[Term], network: Network, wanted: list[str], params: Variables) -> None:
    """UserError for the first term that adds nothing to this network."""
    dense = sorted({p.split('/')[-2] for p in params if p.endswith('/kernel')} - {'head'})
    for term in terms:
        if not any(map(term().owns, wanted)):
            raise UserError(
                f'{term} finds nothing to act on in {type(network).__name__}: it has no layer '
                f'that it matches; its blocks are {network.blocks[0]} .. {network.blocks[-1]}, '
                f'its layers {", ".join(dense[:12])}{which(term, dense)}'
            )


def which(term: Term, dense: list[str]) -> str:
    """How a term that takes a pattern of layers would be written for one of them."""
    if 'targets' not in term.arguments or not dense:
        return ''
    rank = next(iter(term.arguments.values()))
    return f'; {term.name}:{rank},targets={dense[0]} says which'


def terms_of(settings: FreezeSettings) -> list[Term]:
    """All strategies a config names, those of its phases included."""
    if settings.phases:
        texts = [phase['freeze'] for phase in settings.phases if phase.get('freeze')]
        texts.insert(0, settings.strategy)
    else:
        texts = [] if settings.rules else [settings.strategy]
    terms: dict[str, Term] = {}
    for text in texts:
        for term in parse(text):
            terms.setdefault(str(term), term)
    return list(terms.values())
