"""The optimizer that a phase asks for: multi_transform groups inside the trainable tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Annotated

import jax
import optax

from ftjax.errors import UserError
from ftjax.field_types import check_fields
from ftjax.freezing.plan.phase import Phase, PhaseProgram
from ftjax.optim.optimizer_state import record_gradients, separately
from ftjax.ranges import above, at_least, between
from ftjax.registry import Term, parse

_SCHEDULE_FREE = (
    'evaluates other weights than those it trains; expected another optimizer, with '
    "optimizer.ema or freeze='..+ema' for an average"
)
REFUSED = {
    'schedule_free_adamw': _SCHEDULE_FREE,
    'schedule_free_sgd': _SCHEDULE_FREE,
    'sophia': 'needs the loss as a function at every update; expected an optimizer of gradients',
    'lbfgs': 'needs the loss as a function at every update; expected an optimizer of gradients',
}
"""Optimizers of optax that do not work in a step as it is, and why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """What a config says about the optimizer: `config.optimizer`."""

    name: str = 'adamw'
    """Of `scripts/plan.py --list optimizer`, with arguments: 'adamw', 'muon:adamw_rate=0.1'.
    `adamw` and `lion` decay weights decoupled; `adam` and `sgd` add decay to gradients."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Peak learning rate, before the plan's multipliers."""
    weight_decay: Annotated[float, at_least(0)] = 0.0
    momentum: Annotated[float, between(0, 1, ends='low')] = 0.9
    """Of sgd."""
    nesterov: bool = False
    betas: Annotated[tuple[float, float], between(0, 1, ends='low')] = (0.9, 0.999)
    """Of adam, adamw and lion (whose own default is (0.9, 0.99))."""
    epsilon: Annotated[float, between(1e-30, 1e30)] = 1e-8
    clip_norm: Annotated[float | None, above(0)] = None
    """Largest global norm of the trainable gradients; None for no clipping."""
    accumulate: Annotated[int, at_least(1)] = 1
    """Equal parts a batch is split into, their gradients averaged before one update."""
    ema: Annotated[float, between(0, 1, ends='low')] = 0.0
    """Decay of the moving average of the trainable leaves that is evaluated; 0 for none."""

    def __post_init__(self):
        if self.learning_rate == 0:
            raise UserError(
                'optimizer.learning_rate is 0, which computes gradients and drops them; expected '
                "a number above 0 (to freeze, say so: config.freeze='head', for instance)"
            )
        check_fields(OptimizerSettings, vars(self), 'optimizer')
        check_optimizer(self.name)
        object.__setattr__(self, 'betas', tuple(self.betas))


def check_optimizer(name: str) -> Term:
    """The optimizer that `optimizer.name` says; UserError for one that there is not, with why."""
    if name.partition(':')[0] in REFUSED:
        raise UserError(f'optimizer.name is {name!r}, which {REFUSED[name.partition(":")[0]]}')
    return parse('optimizer', name)


def direction(settings: OptimizerSettings, decay: bool) -> optax.GradientTransformation:
    """The descent direction of one group, not yet scaled by a learning rate."""
    decayed = optax.add_decayed_weights(settings.weight_decay) if decay else optax.identity()
    return check_optimizer(settings.name)(settings, decayed)


def make_optimizer(
    phase: Phase | PhaseProgram,
    settings: OptimizerSettings,
    *,
    per_leaf: bool = False,
    record: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer of a phase, over the flat dict {path: array} of its trainable leaves.

    `update(grads, state, params, rates=...)` takes the learning rate of every leaf for this
    step as a float32 vector in the order of `phase.trainable`, so that one compiled program
    serves every rate, schedule and multiplier. With `per_leaf` every leaf has a count of its
    own, except of an optimizer that must see all; with `record` the state keeps the sum of all
    gradients it has seen, unclipped.
    """
    phase = phase.program if isinstance(phase, Phase) else phase
    labels = {
        path: f'{group}/{"decay" if decay else "no_decay"}' for path, group, decay in phase.groups
    }
    details = check_optimizer(settings.name).details
    whole = details is not None and details.whole
    if whole:
        labels = dict.fromkeys(labels, 'all')
    groups: dict[Hashable, optax.GradientTransformation] = {
        label: (separately if per_leaf and not whole else lambda tx: tx)(
            direction(settings, label.endswith('/decay'))
        )
        for label in sorted(set(labels.values()))
    }
    clip = optax.identity()
    if settings.clip_norm is not None:
        clip = optax.clip_by_global_norm(settings.clip_norm)
    first = [record_gradients()] if record else []
    inside = optax.multi_transform(groups, labels)
    return optax.chain(*first, clip, inside, scale_by_rates(phase.trainable))


def scale_by_rates(order: tuple[str, ...]) -> optax.GradientTransformationExtraArgs:
    """Multiplies each leaf's direction by minus its learning rate, given at every update."""

    def update(updates, state, params=None, *, rates, **_):
        scaled = {
            path: -rates[i].astype(updates[path].dtype) * updates[path]
            for i, path in enumerate(order)
        }
        return scaled, state

    # optax types `update` without extra arguments that must be given
    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)  # pyrefly: ignore


def state_bytes(opt_state: object) -> int:
    """Bytes that an optimizer state takes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(opt_state))


def shapes_of(phase: Phase) -> Mapping[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of the trainable leaves: enough to price an optimizer."""
    return {
        path: jax.ShapeDtypeStruct(phase.leaves[path].shape, phase.leaves[path].dtype)
        for path in phase.trainable
    }
