"""SSF: a learned scale and shift after every dense, convolution and normalisation layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import flax.linen as nn

from ftjax.models.adapters.adapter import Adapter, Site, holders, per_output, without
from ftjax.models.layers.rms_norm import OffsetRMSNorm
from ftjax.pytrees import Flat
from ftjax.registry import register


@register('adapter', 'ssf')
@dataclasses.dataclass(frozen=True)
class SSF(Adapter):
    """y -> scale y + shift, at first 1 and 0 (Lian et al. 2022, arXiv:2210.08823).

    A layer without a bias gets no shift: it could not be merged, and the normalisation after
    it has one. The scale of a norm that multiplies by 1 + its own has another name,
    `ssf_factor`: it is merged in another way.
    """

    kind = 'ssf'
    mergeable = True

    def call(self, site: Site, run: Callable, args: tuple, kwargs: dict) -> object:
        """Scales and shifts the output of a layer that holds weights."""
        out = run(*args, **kwargs)
        if site.in_head or not path_is_layer(site) or not hasattr(out, 'shape'):
            return out
        name = 'ssf_factor' if isinstance(site.module, OffsetRMSNorm) else 'ssf_scale'
        scale = site.add(name, nn.initializers.ones, (out.shape[-1],))
        out = out * scale.astype(out.dtype)
        if site.has('bias'):
            shift = site.add('ssf_shift', nn.initializers.zeros, (out.shape[-1],))
            out = out + shift.astype(out.dtype)
        return out

    def merge(self, params: Flat) -> Flat:
        """Folds scale and shift into the layer's own weights."""
        merged = without(params, 'ssf_scale', 'ssf_shift', 'ssf_factor')
        for at in holders(params, 'ssf_scale'):
            factor = params[f'{at}ssf_scale']
            for name in ('kernel', 'scale', 'bias'):
                if f'{at}{name}' in params:
                    weight = params[f'{at}{name}']
                    merged[f'{at}{name}'] = weight * per_output(factor, weight)
            if f'{at}bias' in params:
                bias = merged[f'{at}bias']
                merged[f'{at}bias'] = bias + params[f'{at}ssf_shift'].reshape(bias.shape)
        for at in holders(params, 'ssf_factor'):
            merged[f'{at}scale'] = params[f'{at}ssf_factor'] * (1 + params[f'{at}scale']) - 1
        return merged


def path_is_layer(site: Site) -> bool:
    """Whether the module is a layer with a kernel, or a normalisation layer.

    A module's own `is_norm`, where it has one, comes before its name.
    """
    norm = getattr(site.module, 'is_norm', 'norm' in site.path.rsplit('/', 1)[-1])
    return bool(site.path) and (site.has('kernel') or (norm and site.has('scale')))
