"""A stage that `make_stage` gives as a class of NNX, run as a linen module."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from flax import nnx

from ftjax.errors import UserError
from ftjax.models.built.nnx_opened import call, takes_rngs
from ftjax.models.built.nnx_parts import Part, Slot
from ftjax.models.built.nnx_stage import NNXStage
from ftjax.models.built.nnx_variables import emptied, kind_of, value_of


def constructor(made: Any, stage: str, last: bool) -> Callable[..., nn.Module]:
    """The constructor of a linen module for a class of NNX, or a `functools.partial` of one.

    The class is built with `rngs=` and called with what flows: the array, where `hidden` alone
    flows, and else the dict. An array that it returns is `hidden`, of the last stage the outputs.
    """
    cls, args, kwargs = made, (), {}
    if isinstance(made, functools.partial):
        cls, args, kwargs = made.func, made.args, made.keywords
    if not issubclass(cls, nnx.Module):
        raise UserError(f'stage {stage!r}: make_stage gave {cls.__name__}, no linen or NNX module')
    return functools.partial(NNXStage, part_of(cls, args, tuple(kwargs.items()), stage, last))


@functools.lru_cache(maxsize=1024)
def part_of(cls: Any, args: tuple, kwargs: tuple, stage: str, last: bool) -> Part:
    """The part that a class and its arguments make; its weights are drawn by `init`."""
    build = functools.partial(cls, *args, **dict(kwargs))
    with jax.ensure_compile_time_eval():  # it may be asked for while a program is traced
        module = build(rngs=nnx.Rngs(0))
        graphdef, state = nnx.split(module)
        variables = dict(nnx.to_flat_state(state))
    slots = tuple(
        Slot(path, kind_of(each), '/'.join(map(str, path)), value=constant(each))
        for path, each in variables.items()
    )
    templates = {path: emptied(each) for path, each in variables.items()}
    draws = takes_rngs(module)
    return Part(stage, call, graphdef, templates, slots, last=last, draws=draws, build=build)


def constant(variable: object) -> object:
    """The value of what is neither trained nor drawn."""
    return value_of(variable) if kind_of(variable) == 'constant' else None
