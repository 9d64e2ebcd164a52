"""A schedule of one's own: steps down a staircase."""

from ftjax.config import template
from ftjax.ranges import at_least
from ftjax.registry import register


@register('schedule', 'stairs', ranges={'steps': at_least(1)})
def stairs(settings, done, step, total, steps: int = 4):
    """As many equal steps down to `end`."""
    del step, total
    return settings.end + (1 - settings.end) * (1 - int(done * steps) / steps)


def get_config():
    return template(schedule={'name': 'stairs:2'})
