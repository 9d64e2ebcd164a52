"""A metric of one's own: how sure the least sure right answers are."""

import numpy as np

from ftjax.config import template
from ftjax.tasks import metric


@metric('lowest_margin', label='lowest margin')
def lowest_margin(outputs, labels):
    """The 10 % quantile of the right output minus the best other."""
    rows = np.arange(len(labels))
    others = np.array(outputs)
    others[rows, labels] = -np.inf
    return np.quantile(outputs[rows, labels] - others.max(axis=1), 0.1)


def get_config():
    return template(train={'metric': 'lowest_margin'})
