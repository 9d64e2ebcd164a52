"""Losses by which a network learns from the logits of another one, its teacher.

The logits are a column of the batch, `teacher_logits` (ftjax/runs/loss_columns): they are made
once, before the run, from the frozen teacher that `teacher` names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import optax

from ftjax.ranges import between
from ftjax.tasks.losses import cross_entropy
from ftjax.tasks.registry import loss
from ftjax.tasks.training_loss import Array, Batch

if TYPE_CHECKING:
    from jaxtyping import Float

COLUMN = 'teacher_logits'
_INSTEAD = {
    'causal_lm': 'of each token a teacher gives as many numbers as its vocabulary has tokens, too '
    'many to be stored; let it write answers (scripts/generate.py --prompts=train '
    '--output=FILE.jsonl) and train on these (data.text_column=prompt, '
    'data.text_pair_column=answer)',
}
"""A sequence for a token: Kim and Rush 2016, arXiv:1606.07947."""
_RANGES = {'alpha': between(0, 1), 'temperature': between(0.01, 1000)}


@loss(
    'distillation',
    'classification',
    source='arXiv:1503.02531',
    ranges=_RANGES,
    columns=(COLUMN,),
    instead=_INSTEAD,
)
def distillation(
    outputs: Float[Array, 'batch classes'],
    batch: Batch,
    teacher: str = '',
    alpha: float = 0.9,
    temperature: float = 4.0,
) -> Float[Array, ' batch']:
    """KL(teacher / T, student / T) times alpha T^2, plus (1 - alpha) cross-entropy of the label."""
    del teacher  # its logits stand in the batch
    given = jax.nn.log_softmax(batch['columns'][COLUMN] / temperature)
    found = jax.nn.log_softmax(outputs / temperature)
    divergence = (jnp.exp(given) * (given - found)).sum(axis=-1)
    label = cross_entropy(outputs, batch['labels'])
    return alpha * temperature**2 * divergence + (1 - alpha) * label


@loss(
    'multilabel_distillation',
    'multilabel',
    source='arXiv:1503.02531',
    ranges=_RANGES,
    columns=(COLUMN,),
)
def multilabel_distillation(
    outputs: Float[Array, 'batch classes'],
    batch: Batch,
    teacher: str = '',
    alpha: float = 0.9,
    temperature: float = 4.0,
) -> Float[Array, ' batch']:
    """As distillation, each label a choice of two; the mean over labels."""
    del teacher
    logits = batch['columns'][COLUMN] / temperature
    divergence = sum(
        jax.nn.sigmoid(sign * logits)
        * (jax.nn.log_sigmoid(sign * logits) - jax.nn.log_sigmoid(sign * outputs / temperature))
        for sign in (1, -1)
    )
    label = optax.sigmoid_binary_cross_entropy(outputs, batch['labels'])
    return (alpha * temperature**2 * divergence + (1 - alpha) * label).mean(axis=-1)
