"""A source of data of one's own: stripes across and along."""

import numpy as np

from ftjax.config import template
from ftjax.data.dataset import Dataset
from ftjax.data.sources.registry import Parts
from ftjax.registry import register


@register('source', 'stripes')
def stripes(argument, settings):
    """COUNT noisy images (default 120) with stripes, uint8 (COUNT, 8, 8, 1)."""
    count = int(argument or 120)
    labels = np.arange(count) % 2
    images = np.random.default_rng(0).integers(0, 90, (count, 8, 8, 1))
    images[labels == 0, ::2] += 120
    images[labels == 1, :, ::2] += 120
    return Parts(
        train=Dataset(
            name=settings.source,
            kind='image',
            inputs=images.astype(np.uint8),
            labels=labels,
            class_names=('across', 'along'),
        )
    )


def get_config():
    return template(data={'source': 'stripes:100'})
