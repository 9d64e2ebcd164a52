"""IA3: learned vectors that scale keys, values and the inner activations of perceptrons."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import flax.linen as nn

from ftjax.models.adapters.adapter import (
    Adapter,
    Site,
    holders,
    per_input,
    per_output,
    without,
)
from ftjax.pytrees import Flat
from ftjax.registry import register

OUTPUTS = ('key', 'value')
INPUTS = ('fc2', 'down')


@register('adapter', 'ia3')
@dataclasses.dataclass(frozen=True)
class IA3(Adapter):
    """One factor a channel, 1 at first (Liu et al. 2022, arXiv:2205.05638)."""

    kind = 'ia3'
    mergeable = True

    def call(self, site: Site, run: Callable, args: tuple, kwargs: dict) -> object:
        """Scales what comes out of keys and values, and what goes into the second dense layer."""
        name = site.path.rsplit('/', 1)[-1]
        if not isinstance(site.module, nn.Dense) or site.in_head:
            return run(*args, **kwargs)
        if name in INPUTS:
            x = args[0]
            factor = site.add('ia3_input', nn.initializers.ones, (x.shape[-1],))
            return run(x * factor.astype(x.dtype), *args[1:], **kwargs)
        out = run(*args, **kwargs)
        if name in OUTPUTS:
            factor = site.add('ia3_output', nn.initializers.ones, (out.shape[-1],))
            out = out * factor.astype(out.dtype)
        return out

    def merge(self, params: Flat) -> Flat:
        """Scales columns and biases, or rows."""
        merged = without(params, 'ia3_input', 'ia3_output')
        for at in holders(params, 'ia3_input'):
            kernel = params[f'{at}kernel']
            merged[f'{at}kernel'] = kernel * per_input(params[f'{at}ia3_input'], kernel)
        for at in holders(params, 'ia3_output'):
            for name in ('kernel', 'bias'):
                if f'{at}{name}' in params:
                    weight = params[f'{at}{name}']
                    merged[f'{at}{name}'] = weight * per_output(params[f'{at}ia3_output'], weight)
        return merged
