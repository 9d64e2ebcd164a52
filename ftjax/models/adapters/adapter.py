"""What every kind of adapter is: where it acts, what it adds, and how it merges."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import flax.linen as nn
import jax

from ftjax.errors import UserError
from ftjax.pytrees import Array, Flat, Variables

_ACTING = contextvars.ContextVar('acting', default=False)


@contextlib.contextmanager
def acting() -> Iterator[None]:
    """While a network with adapters runs: stages whose layers are no linen modules ask for it."""
    before = _ACTING.set(True)
    try:
        yield
    finally:
        _ACTING.reset(before)


def adapters_act() -> bool:
    """Whether the network that runs has adapters."""
    return _ACTING.get()


@dataclasses.dataclass(frozen=True)
class Site:
    """The module that is being called, and where it stands in the network."""

    module: nn.Module
    path: str
    """'block_00/attn/query'; '' for the network itself."""
    blocks: tuple[str, ...]
    adapter: Adapter
    """The one that asks."""

    @property
    def is_block(self) -> bool:
        """Whether the module is a whole block."""
        return self.path in self.blocks

    @property
    def in_head(self) -> bool:
        """Whether it belongs to the head, which trains whole and needs no adapter."""
        return self.path.split('/')[0] == 'head'

    def has(self, name: str) -> bool:
        """Whether the module holds a parameter of that name itself."""
        scope = self.module.scope
        return scope is not None and scope.has_variable('params', name)

    def own(self, name: str) -> jax.Array:
        """A parameter that the module holds itself."""
        assert self.module.scope is not None
        return self.module.scope.get_variable('params', name)

    def random(self, name: str) -> jax.Array:
        """A key of this call from one of the run's streams, 'dropout' say."""
        assert self.module.scope is not None
        return self.module.scope.make_rng(name)

    def add(self, name: str, init: Callable, shape: tuple[int, ...]) -> jax.Array:
        """An added parameter beside the module's own: made at init, read afterwards.

        Raises UserError for a name that would not tell whose parameter it is.
        """
        if not self.adapter.owns(name):
            raise UserError(
                f'adapter {self.adapter.kind!r} adds a parameter {name!r}; expected a name that '
                f'begins with {" or ".join(self.adapter.begins)}'
            )
        scope = self.module.scope
        assert scope is not None
        if scope.has_variable('params', name):  # linen declares a name only once in a call
            found: Any = scope.get_variable('params', name)
            if found.shape == shape:
                return found
        return scope.param(name, init, shape)


@dataclasses.dataclass(frozen=True)
class Adapter:
    """One kind of added parameters. Subclasses are plain values: hashable, JSON-able fields.

    A kind is registered by its name, `@register('adapter', 'gate')` before the class, and its
    parameters begin with it: 'gate_scale'.
    """

    kind: ClassVar[str] = ''
    prefixes: ClassVar[tuple[str, ...]] = ()
    """What its parameters' names begin with; () for the kind and '_'."""
    mergeable: ClassVar[bool] = False

    @property
    def begins(self) -> tuple[str, ...]:
        """What the names of its parameters begin with."""
        return self.prefixes or (f'{self.kind}_',)

    def owns(self, path: str) -> bool:
        """Whether a parameter, by its path, is one that it added."""
        return path.rsplit('/', 1)[-1].startswith(self.begins)

    def call(self, site: Site, run: Callable, args: tuple, kwargs: dict) -> object:
        """Runs the module, `run(*args, **kwargs)`, with what the adapter adds.

        Raises nothing: modules that the adapter has no business with run as they are.
        """
        raise NotImplementedError

    def settle(self, params: Variables) -> Flat:
        """Values of added leaves that depend on the loaded weights; {} for none."""
        del params
        return {}

    def merge(self, params: Flat) -> Flat:
        """The flat parameters with the added ones folded into the network's own."""
        raise NotImplementedError


def without(params: Variables, *names: str) -> Flat:
    """The parameters without the leaves of some names."""
    return {path: leaf for path, leaf in params.items() if path.rsplit('/', 1)[-1] not in names}


def holders(params: Variables, name: str) -> list[str]:
    """Paths, with a slash at the end, of the modules that hold a leaf of a name."""
    return [path[: -len(name)] for path in params if path.rsplit('/', 1)[-1] == name]


def per_output(factor: Array, weight: Array) -> Array:
    """A vector over outputs in the shape of a weight's last dimensions: several in (in, a, b)."""
    count = next(
        n for n in range(1, weight.ndim + 1) if math.prod(weight.shape[-n:]) == factor.size
    )
    return factor.reshape(weight.shape[-count:])


def per_input(factor: Array, weight: Array) -> Array:
    """A vector over inputs that multiplies a weight's first dimensions: several in (a, b, out)."""
    count = next(n for n in range(1, weight.ndim + 1) if math.prod(weight.shape[:n]) == factor.size)
    return factor.reshape(*weight.shape[:count], *[1] * (weight.ndim - count))
