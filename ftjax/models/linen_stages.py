"""The module of a stage, linen's or of another library, as something that linen can call."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn

NNX_CLASS = 'ftjax.models.built.nnx_class'
"""What runs classes of NNX; it brings NNX along."""


def linen_stage(made: Callable[..., object], name: str, last: bool) -> Callable[..., Any]:
    """What `make_stage` gives for a name, a class of NNX wrapped; `last` for the last stage."""
    target = made.func if isinstance(made, functools.partial) else made
    if not isinstance(target, type) or issubclass(target, nn.Module):
        return made
    return importlib.import_module(NNX_CLASS).constructor(made, name, last)
