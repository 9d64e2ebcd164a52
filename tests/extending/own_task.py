"""A task of one's own: classes, told apart by a margin."""

import jax

from ftjax.config import template
from ftjax.tasks import Classification, task


@task('margins')
class Margins(Classification):
    """Classes; every wrong output is to be one below the right one (Crammer & Singer 2001)."""

    def losses(self, outputs, batch, options):
        """How far the worst wrong output is from that, (B,)."""
        right = jax.nn.one_hot(batch['labels'], outputs.shape[-1])
        worst = (outputs + 1 - right).max(axis=-1)
        return worst - (outputs * right).sum(axis=-1)


def get_config():
    return template(data={'task': 'margins'})
