"""The two-layer networks of the theory of fine-tuning: no biases, one output."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ftjax.errors import check_name
from ftjax.models.stages import Mode, Network

ACTIVATIONS = {'identity': lambda x: x, 'relu': nn.relu}


class First(nn.Module):
    """act(x B): (batch, inputs) -> (batch, width)."""

    width: int
    act: str

    @nn.compact
    def __call__(self, state: object, mode: Mode) -> Any:
        del mode
        dense = nn.Dense(self.width, use_bias=False, name='dense')
        return {'hidden': ACTIVATIONS[self.act](dense(state))}


class Last(nn.Module):
    """h v: (batch, width) -> (batch, num_classes)."""

    classes: int

    @nn.compact
    def __call__(self, state: Any, mode: Mode) -> Any:
        del mode
        return nn.Dense(self.classes, use_bias=False, name='dense')(state['hidden'])


class TwoLayer(Network):
    """act(x B) v, as in Kumar et al. 2022 (identity) and Lee et al. 2022 (ReLU).

    >>> TwoLayer(inputs=4, width=2).stages
    ('block_00', 'head')
    """

    inputs: int = 10
    width: int = 40
    act: str = 'relu'
    num_classes: int = 1

    @property
    def stages(self) -> tuple[str, ...]:
        """The first layer and the last."""
        return ('block_00', 'head')

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        """One of the two layers."""
        if name == 'head':
            return partial(Last, self.num_classes)
        return partial(First, self.width, check_name(self.act, ACTIVATIONS, 'activation'))

    def example_input(self, batch_size: int = 1) -> Any:
        """Zeros, (batch_size, inputs) float32."""
        return jnp.zeros((batch_size, self.inputs))
