"""An adapter of one's own: a learned gain of every block's output."""

import dataclasses

import flax.linen as nn

from ftjax.config import template
from ftjax.freezing.registry import strategy
from ftjax.models.adapters.adapter import Adapter, holders, without
from ftjax.registry import register


@register('adapter', 'gain')
@dataclasses.dataclass(frozen=True)
class Gain(Adapter):
    """Multiplies the hidden state after each block by a vector, 1 at first."""

    kind = 'gain'
    start: float = 1.0

    def call(self, site, run, args, kwargs):
        out = run(*args, **kwargs)
        if not site.is_block:
            return out
        start = nn.initializers.constant(self.start)
        gain = site.add('gain_vector', start, (out['hidden'].shape[-1],))
        return {**out, 'hidden': out['hidden'] * gain.astype(out['hidden'].dtype)}

    def merge(self, params):
        return without(params, *holders(params, 'gain_vector'))


@strategy('gained', 'adapter', start=1.0)
def gained(start):
    """A gain of every block, and the head."""
    return Gain(start)


def get_config():
    return template(freeze='gained')
