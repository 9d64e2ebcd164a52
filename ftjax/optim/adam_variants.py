"""Adam and its variants, as `optimizers` registers the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optax
from optax import GradientTransformation as Transformation
from optax import contrib

from ftjax.ranges import above, at_least, between
from ftjax.registry import register

if TYPE_CHECKING:
    from ftjax.optim.optimizer import OptimizerSettings as Settings

SHARE, POSITIVE = between(0, 1, ends='low'), above(0)


@register('optimizer', 'adamw', source='Loshchilov & Hutter 2019, arXiv:1711.05101')
def adamw(settings: Settings, decay: Transformation) -> Transformation:
    """Adam, the decay of weights decoupled."""
    return optax.chain(optax.scale_by_adam(*settings.betas, settings.epsilon), decay)


@register('optimizer', 'adam', source='Kingma & Ba 2015, arXiv:1412.6980')
def adam(settings: Settings, decay: Transformation) -> Transformation:
    """Adam, the decay added to the gradients."""
    return optax.chain(decay, optax.scale_by_adam(*settings.betas, settings.epsilon))


@register('optimizer', 'nadam', source='Dozat 2016, ICLR workshop')
def nadam(settings: Settings, decay: Transformation) -> Transformation:
    """Adam with Nesterov's momentum, the decay added to the gradients."""
    inner = optax.scale_by_adam(*settings.betas, settings.epsilon, nesterov=True)
    return optax.chain(decay, inner)


@register('optimizer', 'nadamw', source='Dozat 2016, ICLR workshop')
def nadamw(settings: Settings, decay: Transformation) -> Transformation:
    """Adam with Nesterov's momentum, the decay decoupled."""
    inner = optax.scale_by_adam(*settings.betas, settings.epsilon, nesterov=True)
    return optax.chain(inner, decay)


@register('optimizer', 'adamax', source='Kingma & Ba 2015, arXiv:1412.6980, section 7.1')
def adamax(settings: Settings, decay: Transformation) -> Transformation:
    """Adam by the largest gradient so far, the decay added to the gradients."""
    return optax.chain(decay, optax.scale_by_adamax(*settings.betas, settings.epsilon))


@register('optimizer', 'adamaxw', source='Kingma & Ba 2015, arXiv:1412.6980, section 7.1')
def adamaxw(settings: Settings, decay: Transformation) -> Transformation:
    """Adam by the largest gradient so far, the decay decoupled."""
    return optax.chain(optax.scale_by_adamax(*settings.betas, settings.epsilon), decay)


@register('optimizer', 'amsgrad', source='Reddi et al. 2018, arXiv:1904.09237')
def amsgrad(settings: Settings, decay: Transformation) -> Transformation:
    """Adam by the largest second moment so far, the decay added to the gradients."""
    return optax.chain(decay, optax.scale_by_amsgrad(*settings.betas, settings.epsilon))


@register('optimizer', 'radam', source='Liu et al. 2020, arXiv:1908.03265')
def radam(settings: Settings, decay: Transformation) -> Transformation:
    """Adam with a rectified variance, in place of a warm-up; the decay decoupled."""
    return optax.chain(optax.scale_by_radam(*settings.betas, settings.epsilon), decay)


@register(
    'optimizer',
    'adabelief',
    source='Zhuang et al. 2020, arXiv:2010.07468',
    ranges={'epsilon': POSITIVE},
)
def adabelief(settings: Settings, decay: Transformation, epsilon: float = 1e-16) -> Transformation:
    """Adam by how far gradients are from their mean; the decay decoupled."""
    return optax.chain(optax.scale_by_belief(*settings.betas, epsilon), decay)


@register('optimizer', 'yogi', source='Zaheer et al. 2018, NeurIPS', ranges={'epsilon': POSITIVE})
def yogi(settings: Settings, decay: Transformation, epsilon: float = 1e-3) -> Transformation:
    """Adam whose second moment changes by addition; the decay decoupled."""
    return optax.chain(optax.scale_by_yogi(*settings.betas, epsilon), decay)


@register(
    'optimizer',
    'adan',
    source='Xie et al. 2022, arXiv:2208.06677',
    ranges={'b1': SHARE, 'b2': SHARE, 'b3': SHARE},
)
def adan(
    settings: Settings, decay: Transformation, b1: float = 0.98, b2: float = 0.92, b3: float = 0.99
) -> Transformation:
    """Adam with Nesterov's momentum of differences of gradients; the decay decoupled."""
    return optax.chain(optax.scale_by_adan(b1, b2, b3, settings.epsilon, 1e-8), decay)


@register(
    'optimizer',
    'ademamix',
    source='Pagliardini et al. 2024, arXiv:2409.03137',
    ranges={'alpha': at_least(0), 'b3': SHARE},
)
def ademamix(
    settings: Settings, decay: Transformation, alpha: float = 5.0, b3: float = 0.9999
) -> Transformation:
    """AdamW with a second, slow mean of gradients, `alpha` times."""
    inner = contrib.scale_by_ademamix(*settings.betas, b3, alpha, settings.epsilon)
    return optax.chain(inner, decay)


@register(
    'optimizer',
    'adopt',
    source='Taniguchi et al. 2024, arXiv:2411.02853',
    ranges={'b2': SHARE, 'epsilon': POSITIVE},
)
def adopt(
    settings: Settings, decay: Transformation, b2: float = 0.9999, epsilon: float = 1e-6
) -> Transformation:
    """Adam that scales a gradient by the moments before it; the decay decoupled."""
    return optax.chain(contrib.scale_by_adopt(settings.betas[0], b2, epsilon), decay)
