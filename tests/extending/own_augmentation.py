"""An augmentation of one's own: darker images."""

import jax

from ftjax.config import template
from ftjax.ranges import between
from ftjax.registry import register


@register('augmentation', 'dim', ranges={'least': between(0, 1), 'most': between(0, 1)})
def dim(image, key, least: float = 0.0, most: float = 0.3):
    """Takes a random share of the light."""
    return image * (1 - jax.random.uniform(key, minval=least, maxval=most))


def get_config():
    return template(data={'augment': 'dim:0.1,0.2,flip'})
