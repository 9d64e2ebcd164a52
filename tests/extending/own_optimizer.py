"""An optimizer of one's own: the sign of the gradient."""

import jax
import jax.numpy as jnp
import optax

from ftjax.config import template
from ftjax.registry import register


@register('optimizer', 'signs')
def signs(settings, decay, share: float = 1.0):
    """The sign of each gradient, `share` times; the decay decoupled."""
    del settings
    move = optax.stateless(lambda tree, _: jax.tree.map(lambda x: share * jnp.sign(x), tree))
    return optax.chain(move, decay)


def get_config():
    return template(optimizer={'name': 'signs:0.5'})
