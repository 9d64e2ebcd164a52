"""A loss of one's own: cross-entropy under a temperature."""

import optax

from ftjax.config import template
from ftjax.ranges import above
from ftjax.tasks import loss


@loss('tempered', ranges={'temperature': above(0)})
def tempered(outputs, batch, temperature: float = 2.0):
    """Cross-entropy of outputs divided by the temperature, (B,)."""
    logits = outputs / temperature
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch['labels'])


def get_config():
    return template(train={'loss': 'tempered:3'})
