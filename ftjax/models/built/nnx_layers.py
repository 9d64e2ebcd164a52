"""Layers of NNX that adapters act on: each is called through a linen module of the same leaves."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
from flax import nnx

from ftjax.errors import UserError
from ftjax.models.built.nnx_variables import Path

DENSE = (nnx.Linear, nnx.LinearGeneral)
NORMS = (nnx.LayerNorm, nnx.RMSNorm, nnx.BatchNorm, nnx.GroupNorm, nnx.InstanceNorm)
LAYERS = (*DENSE, *NORMS, nnx.Conv, nnx.ConvTranspose)
_SCOPES: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""The scope of each layer's leaves, while a merged module is called."""


class DenseLayer(nn.Dense):
    """A dense layer as adapters see it; its product is NNX's own."""

    run: Callable[..., Any] | None = None

    def __call__(self, inputs: object) -> Any:
        assert self.run is not None
        return self.run(inputs)


class OtherLayer(nn.Module):
    """A convolution or a norm as adapters see it."""

    run: Callable[..., Any] | None = None
    is_norm: bool = False

    def __call__(self, inputs: object) -> Any:
        assert self.run is not None
        return self.run(inputs)


def through_adapters(module: nnx.Module, scope: Any, keys: Mapping[Path, str]) -> None:
    """Makes the layers of a merged module call adapters.

    Args:
      module: merged for one call; nobody else holds it.
      scope: of the stage.
      keys: leaf below the stage, by the path of its variable.
    """
    for path, layer in list(nnx.iter_graph(module)):
        key = next((keys[(*path, n)] for n in ('kernel', 'scale') if (*path, n) in keys), None)
        if not isinstance(layer, LAYERS) or key is None:
            continue
        within = scope
        for name in key.split('/')[:-1]:
            within = within.push(name, reuse=True)
        object.__setattr__(layer, '__class__', adapted_class(type(layer)))
        _SCOPES[layer] = within


@functools.cache
def adapted_class(cls: Any) -> type:
    """A layer's class whose calls go through adapters."""

    def __call__(self: object, inputs: Any, *args: object, **kwargs: object) -> Any:
        scope = _SCOPES.get(self)
        if scope is None:
            raise UserError(
                f'adapters cannot act on a {cls.__name__} within nnx.remat, nnx.scan or nnx.jit; '
                'call its module without them (train.remat=True does what nnx.remat does)'
            )
        given, out = dimensions(self)
        lead = inputs.shape[: inputs.ndim - given]

        shapes: list[tuple[int, ...]] = []

        def run(x: Any) -> Any:
            whole = x.reshape(inputs.shape) if given > 1 else x
            y = cls.__call__(self, whole, *args, **kwargs)
            shapes.append(y.shape)
            return y.reshape(*lead, -1) if out > 1 else y

        x = inputs.reshape(*lead, -1) if given > 1 else inputs
        if isinstance(self, DENSE):
            layer: Any = DenseLayer(features=1, run=run, parent=scope)
        else:
            layer = OtherLayer(run, isinstance(self, NORMS), parent=scope)
        y = layer(x)
        return y.reshape(shapes[0]) if out > 1 else y

    return type(cls.__name__, (cls,), {'__call__': __call__, '__module__': cls.__module__})


def dimensions(layer: object) -> tuple[int, int]:
    """How many last dimensions of its input a dense layer sums over, and how many it makes."""
    if not isinstance(layer, nnx.LinearGeneral):
        return 1, 1
    axes = sorted(layer.axis)
    if axes != list(range(-len(axes), 0)) or layer.batch_axis:
        raise UserError(
            f'adapters cannot act on an nnx.LinearGeneral over the axes {tuple(layer.axis)}; '
            'they must be the last ones, in order'
        )
    return len(axes), len(layer.out_features)
