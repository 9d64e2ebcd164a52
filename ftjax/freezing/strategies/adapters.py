"""What strategies that add parameters do to a network, before the plan is made.

The strategies themselves stand in adapter_kinds.py.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.freezing.registry import Term, parse
from ftjax.freezing.settings import FreezeSettings
from ftjax.leaves import flatten, unflatten
from ftjax.models.adapters.adapted import Adapted, adapted, adapters_in_words, read_adapter
from ftjax.models.stages import Network
from ftjax.pretrained.initialise import random_leaves
from ftjax.pytrees import Variables


def with_adapters(
    settings: FreezeSettings, network: Network, variables: Variables, seed: int = 0
) -> tuple[Network, dict[str, Any]]:
    """The network and its variables, or their shapes, with what the strategy adds.

    A network that has just these adapters already comes back as it is.

    Raises UserError if the network has nothing that an adapter acts on, or has other adapters.
    """
    terms = [term for term in terms_of(settings) if term.details.kind == 'adapter']
    if not terms:
        return network, dict(variables)
    for term in terms[1:]:
        if term.name == 'dora':
            raise UserError(
                f'freeze {settings.described!r}: dora measures the weights as they were loaded; '
                'put it first'
            )
    adapters = [term() for term in terms]
    if isinstance(network, Adapted):
        if [read_adapter(text) for text in network.adapters] == adapters:
            return network, dict(variables)  # they are trained on from what they are
        raise UserError(
            f'freeze {settings.described!r}: the network has adapters already '
            f'({adapters_in_words(network)}); name the same ones to train them on, or a strategy '
            'without adapters: head, for instance'
        )
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
