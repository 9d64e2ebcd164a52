"""Variables of an NNX model, their kinds and values; how a stage names what it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx

Path = tuple[Any, ...]
"""Of a variable in an NNX graph; keys of lists are numbers."""
Stage = str | Sequence[str] | Callable[..., Any]
"""What a stage runs: a module's path, several in a row, or a function (model, x) of the model.
A function, or a module's `__call__`, that has an argument `rngs` is given the run's."""
Run = Callable[[Any, Any, nnx.Rngs], Any]
STACKED = re.compile(r'(.*)\[(\d+)\]')
LEAF_KINDS = ('params', 'batch_stats')
"""Kinds of variables that are leaves of a network."""


def filled(template: object, value: object) -> object:
    """A variable with a value, or with its shape alone."""
    if not isinstance(template, nnx.Variable):
        return template if value is None else value
    return template if value is None else template.replace(value)


def emptied(variable: Any) -> object:
    """A variable that knows its shape and dtype alone."""
    if not isinstance(variable, nnx.Variable):
        return jax.ShapeDtypeStruct(variable.shape, variable.dtype)
    value = variable.get_value()
    return variable.replace(jax.ShapeDtypeStruct(value.shape, value.dtype))


def value_of(variable: object) -> Any:
    """The array in a variable."""
    return variable.get_value() if isinstance(variable, nnx.Variable) else variable


def kind_of(variable: object) -> str:
    """What a variable is to a run."""
    if isinstance(variable, nnx.Param):
        return 'params'
    if isinstance(variable, nnx.BatchStat):
        return 'batch_stats'
    return 'random' if isinstance(variable, nnx.RngState) else 'constant'
