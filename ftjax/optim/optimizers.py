"""Optimizers: each is the direction of descent before its learning rate. Adam: adam_variants.py.

An optimizer is a function (settings, decay, **arguments) -> optax.GradientTransformation. What it
returns is multiplied by minus the rate of each leaf afterwards, which the step gives at every
update; so momentum is kept of directions, not of steps. `settings` is `config.optimizer`; `decay`
adds the decayed weights of the group, or nothing. Names that end in `w` decay decoupled.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import optax
from optax import GradientTransformation as Transformation
from optax import contrib

from ftjax.errors import UserError
from ftjax.ranges import above, at_least, between
from ftjax.registry import register

if TYPE_CHECKING:
    from ftjax.optim.optimizer import OptimizerSettings as Settings

SHARE, POSITIVE = between(0, 1, ends='low'), above(0)


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The `details` of an optimizer."""

    whole: bool = False
    """It must see all trainable leaves at once: it has no state of a leaf alone."""


@register('optimizer', 'sgd')
def sgd(settings: Settings, decay: Transformation) -> Transformation:
    """Gradient descent with `momentum`, the decay added to the gradients."""
    return optax.chain(decay, momentum_of(settings))


def momentum_of(settings: Settings, amount: float | None = None) -> Transformation:
    """Adds up directions by an amount, that of the settings by default; no state where it is 0."""
    amount = settings.momentum if amount is None else amount
    return optax.trace(amount, settings.nesterov) if amount else optax.identity()


@register('optimizer', 'lion', source='Chen et al. 2023, arXiv:2302.06675')
def lion(settings: Settings, decay: Transformation) -> Transformation:
    """The sign of a momentum (betas are 0.9, 0.99 in the paper), the decay decoupled."""
    return optax.chain(optax.scale_by_lion(*settings.betas), decay)


@register(
    'optimizer',
    'novograd',
    source='Ginsburg et al. 2019, arXiv:1905.11286',
    ranges={'b1': SHARE, 'b2': SHARE},
)
def novograd(
    settings: Settings, decay: Transformation, b1: float = 0.9, b2: float = 0.25
) -> Transformation:
    """Momentum of gradients over their norm by leaf; the decay decoupled."""
    return optax.chain(optax.scale_by_novograd(b1, b2, settings.epsilon), decay)


@register(
    'optimizer', 'lamb', source='You et al. 2020, arXiv:1904.00962', ranges={'epsilon': POSITIVE}
)
def lamb(settings: Settings, decay: Transformation, epsilon: float = 1e-6) -> Transformation:
    """AdamW, each leaf's direction as long as its weights: for large batches."""
    inner = optax.scale_by_adam(*settings.betas, epsilon)
    return optax.chain(inner, decay, optax.scale_by_trust_ratio())


@register(
    'optimizer', 'lars', source='You et al. 2017, arXiv:1708.03888', ranges={'trust': POSITIVE}
)
def lars(settings: Settings, decay: Transformation, trust: float = 1e-3) -> Transformation:
    """Sgd, each leaf's gradient `trust` times as long as its weights: for large batches."""
    ratio = optax.scale_by_trust_ratio(trust_coefficient=trust)
    return optax.chain(decay, ratio, momentum_of(settings))


@register(
    'optimizer',
    'rmsprop',
    source='Hinton 2012, lecture 6e; centered: Graves 2013, arXiv:1308.0850',
    ranges={'memory': SHARE, 'momentum': SHARE},
)
def rmsprop(
    settings: Settings,
    decay: Transformation,
    memory: float = 0.9,
    momentum: float = 0.0,
    centered: bool = False,
) -> Transformation:
    """Gradients over their recent root mean square; the decay added to the gradients."""
    by = optax.scale_by_stddev if centered else optax.scale_by_rms
    return optax.chain(decay, by(memory, settings.epsilon), momentum_of(settings, momentum))


@register(
    'optimizer',
    'adagrad',
    source='Duchi et al. 2011, JMLR 12',
    ranges={'start': at_least(0), 'epsilon': POSITIVE},
)
def adagrad(
    settings: Settings, decay: Transformation, start: float = 0.1, epsilon: float = 1e-7
) -> Transformation:
    """Gradients over the root of the sum of all squares; the decay added to the gradients."""
    return optax.chain(decay, optax.scale_by_rss(start, epsilon))


@register('optimizer', 'adadelta', source='Zeiler 2012, arXiv:1212.5701', ranges={'memory': SHARE})
def adadelta(settings: Settings, decay: Transformation, memory: float = 0.9) -> Transformation:
    """Steps as long as recent steps, at learning_rate=1; the decay added to the gradients."""
    return optax.chain(decay, optax.scale_by_adadelta(memory, 1e-6))


@register('optimizer', 'sm3', source='Anil et al. 2019, arXiv:1901.11150', ranges={'b1': SHARE})
def sm3(settings: Settings, decay: Transformation, b1: float = 0.9) -> Transformation:
    """Adagrad with one number a row and column; the decay added to the gradients."""
    return optax.chain(decay, optax.scale_by_sm3(b1))


@register(
    'optimizer',
    'adafactor',
    source='Shazeer & Stern 2018, arXiv:1804.04235',
    ranges={'memory': between(0, 1, ends='none'), 'smallest': at_least(1), 'clip': POSITIVE},
)
def adafactor(
    settings: Settings,
    decay: Transformation,
    memory: float = 0.8,
    smallest: int = 128,
    clip: float = 1.0,
    relative: bool = True,
) -> Transformation:
    """Second moments by row and column, steps relative to the weights; the decay decoupled.

    Moments are factored where both sides are at least `smallest`. With `relative` a leaf's step
    is in proportion to the root mean square of its weights. Unlike in optax the decay is
    multiplied by the learning rate.
    """
    inner = [
        optax.scale_by_factored_rms(decay_rate=memory, min_dim_size_to_factor=smallest),
        optax.clip_by_block_rms(clip),
        optax.scale_by_param_block_rms() if relative else optax.identity(),
    ]
    return optax.chain(*inner, decay)


@register(
    'optimizer',
    'muon',
    source='Jordan 2024, Muon; Bernstein & Newhouse 2024, arXiv:2409.20325',
    ranges={'adamw_rate': POSITIVE, 'beta': SHARE, 'iterations': at_least(1)},
)
def muon(
    settings: Settings,
    decay: Transformation,
    adamw_rate: float = 1.0,
    beta: float = 0.95,
    iterations: int = 5,
) -> Transformation:
    """Orthogonalised momentum of matrices; of all other leaves AdamW; the decay decoupled.

    `adamw_rate` is the rate of AdamW as a share of that of the matrices, so that schedules,
    multipliers and sweeps of the rate hold for both.
    """
    b1, b2 = settings.betas
    inner = contrib.muon(
        1.0, ns_steps=iterations, beta=beta, eps=settings.epsilon, adam_b1=b1, adam_b2=b2
    )

    def scaled(updates, params=None):
        del params
        # By what AdamW moves, its decay included. Muon's own rate is 1, and it descends.
        return jax.tree.map(lambda x: x if x.ndim == 2 else adamw_rate * x, updates)

    return optax.chain(inner, optax.scale(-1.0), decay, optax.stateless(scaled))


@register(
    'optimizer',
    'galore',
    source='Zhao et al. 2024, arXiv:2403.03507',
    ranges={'rank': at_least(1), 'every': at_least(1), 'scale': POSITIVE},
)
def galore(
    settings: Settings,
    decay: Transformation,
    rank: int = 128,
    every: int = 200,
    scale: float = 1.0,
) -> Transformation:
    """Adam of matrices in the first `rank` directions of their gradient; the decay decoupled.

    Directions are those of the gradient's singular vectors, found anew `every` so many steps;
    moments are kept in them alone. All other leaves have Adam as it is.
    """
    inner = optax.scale_by_adam(*settings.betas, settings.epsilon)
    return optax.chain(contrib.scale_by_galore(rank, every, scale, inner), decay)


@register(
    'optimizer',
    'prodigy',
    source='Mishchenko & Defazio 2023, arXiv:2306.06101',
    details=Optimizer(whole=True),
    ranges={'start': POSITIVE, 'growth': POSITIVE},
)
def prodigy(
    settings: Settings, decay: Transformation, start: float = 1e-6, growth: float = 1.0
) -> Transformation:
    """Adam that estimates its rate, one for all leaves: for learning_rate=1 and its multiples.

    The schedule and the plan's multipliers scale the step; the estimate is as under a constant
    rate.

    Raises:
      UserError: with a decay of weights, which it would scale by its estimate for all leaves.
    """
    if settings.weight_decay:
        raise UserError(
            f'optimizer.weight_decay is {settings.weight_decay:g}; expected 0 with prodigy'
        )
    inner = contrib.prodigy(
        1.0, settings.betas, eps=settings.epsilon, estim_lr0=start, estim_lr_coef=growth
    )
    return optax.chain(inner, optax.scale(-1.0))
