"""A strategy of one's own: the first and the last k blocks train."""

from ftjax.config import template
from ftjax.freezing.registry import strategy
from ftjax.ranges import at_least


@strategy('ends', 'mask', k=1, ranges={'k': at_least(1)})
def ends(net, k):
    """The first and the last k blocks, and the head."""
    return net.within(*net.blocks[:k], *net.blocks[-k:]) | net.head


def get_config():
    return template(init='', model={'name': 'vit', 'depth': 3}, freeze='ends:1')
