"""Checks of the stage contract: what every other part of ftjax rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.leaves import flatten
from ftjax.models.stages import EVAL, ROLES, TRAIN, Mode
from ftjax.runs.before_training.checked_network import (
    EXAMPLES,
    Modes,
    Subject,
    Wrong,
    compared,
    pairs,
    same,
)


def outputs_have_their_shapes(subject: Subject) -> str:
    """Stages pass on arrays with a leading batch axis, and the last gives float32 outputs."""
    network, state = subject.network, subject.inputs
    for name, following in pairs(network.stages):
        state, _ = subject.run(inputs=state, start=name, stop=following)
        if following is None:
            break
        if not isinstance(state, Mapping) or 'hidden' not in state:
            raise Wrong(f"{name} returns {type(state).__name__}; expected a dict with 'hidden'")
        for key, leaf in state.items():
            if leaf.shape[:1] != (EXAMPLES,):
                raise Wrong(
                    f'{name} passes on {key} of shape {leaf.shape}; the first axis is not '
                    f'that of the {EXAMPLES} examples'
                )
    if not network.num_classes or network.is_lm:
        return 'no head of classes'
    if state.shape != (EXAMPLES, network.num_classes) or state.dtype != jnp.float32:
        raise Wrong(
            f'the last stage gives {state.dtype}{list(state.shape)}; expected '
            f'float32[{EXAMPLES}, {network.num_classes}]'
        )
    return f'{len(network.stages)} stages, {network.num_classes} outputs'


def stages_compose(subject: Subject) -> str:
    """Stages one after the other give what all give at once, with and without noise."""
    worst = 0.0
    for mode in (EVAL, Mode(deterministic=True, batch_stats=True)):
        whole, _ = subject.run(mode)
        state = subject.inputs
        for name, following in pairs(subject.network.stages):
            state, _ = subject.run(mode, inputs=state, start=name, stop=following)
        worst = max(worst, compared(state, whole, 'stages in turn and all at once'))
    return f'within {worst:.1e}'


def examples_are_independent(subject: Subject) -> None:
    """In evaluation an example's output does not depend on the others of its batch."""
    whole, _ = subject.run()
    halved = jax.tree.map(lambda x: x[: EXAMPLES // 2], subject.inputs)
    part, _ = subject.run(inputs=halved)
    compared(part, jax.tree.map(lambda x: x[: EXAMPLES // 2], whole), 'half a batch and a whole')


def frozen_prefix(subject: Subject) -> str:
    """A frozen stage runs in training as in evaluation: no noise, no statistics that move."""
    network = subject.network
    if len(network.blocks) == 0:
        raise Wrong('no stage is a block: call blocks block_00, block_01, .. or override `blocks`')
    cut = network.blocks[-1]
    before = network.stages[network.stages.index(cut) - 1]
    modes = Modes(dict.fromkeys(network.stages[network.stages.index(cut) :], TRAIN))
    (_, trained), moved = subject.run(modes, taps=(before,))
    (_, expected), _ = subject.run(taps=(before,))
    compared(trained, expected, f'what {before} gives in training and in evaluation')
    old, new = dict(subject.variables.get('batch_stats', {})), dict(moved.get('batch_stats', {}))
    for name in network.stages[: network.stages.index(cut)]:
        if not same(old.get(name, {}), new.get(name, old.get(name, {}))):
            raise Wrong(f'{name} moves its running statistics although its mode is EVAL')
    return f'up to {before}'


def modes_are_honoured(subject: Subject) -> str:
    """Noise is there in training alone, and statistics move where their mode says so alone."""
    quiet = [subject.run(EVAL, seed)[0] for seed in (0, 1)]
    if not same(*quiet):
        raise Wrong(
            'outputs depend on the random key in evaluation: a dropout does not read '
            'mode.deterministic'
        )
    noisy = [subject.run(Mode(deterministic=False), seed)[0] for seed in (0, 1)]
    draws = not same(*noisy)
    if draws and subject.network.noiseless:
        raise Wrong('the network says noiseless, and its outputs depend on the random key')
    before = dict(subject.variables.get('batch_stats', {}))
    for batch_stats in (False, True):
        after = dict(subject.run(Mode(batch_stats=batch_stats))[1]).get('batch_stats', {})
        for name, old in before.items():
            still = all(jax.tree.leaves(jax.tree.map(np.array_equal, old, after.get(name, old))))
            if still == batch_stats:
                does = 'do not move' if still else 'move'
                raise Wrong(f'the statistics of {name} {does} with mode.batch_stats={batch_stats}')
    said = 'draws random numbers in training' if draws else 'draws nothing at random'
    return f'{said}; statistics in {len(before)} stages'


def gradients_reach_every_leaf(subject: Subject) -> str:
    """The gradient of the loss is finite and not 0 in every parameter."""

    def loss(params: object) -> Any:
        rngs = {'dropout': jax.random.key(0)}
        given = {**subject.variables, 'params': params}
        options = {'modes': TRAIN, 'rngs': rngs, 'mutable': ['batch_stats']}
        out = subject.network.apply(given, subject.inputs, **options)[0]
        weights = jnp.cos(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape)
        return (jax.nn.log_softmax(out) * weights).sum()

    found = flatten(jax.jit(jax.grad(loss))(subject.variables['params']))
    bad = [path for path, leaf in found.items() if not np.isfinite(leaf).all()]
    if bad:
        raise Wrong(f'{bad[0]}: the gradient is not finite')
    none = [path for path, leaf in found.items() if not np.any(leaf)]
    if none:
        more = f' and {len(none) - 1} more' if len(none) > 1 else ''
        raise Wrong(f'{none[0]}{more}: the gradient is 0: no output depends on it')
    return f'{len(found)} leaves'


def roles_of_leaves(subject: Subject) -> str:
    """What strategies find by role; `has_role` of the network says it where names do not."""
    paths = flatten(dict(subject.variables['params']))
    counts = {r: sum(subject.network.has_role(path, r) for path in paths) for r in ROLES}
    blocks = f'{len(subject.network.blocks)} blocks'
    return ', '.join([blocks, *(f'{role} {count}' for role, count in counts.items())])


STAGE_CHECKS: tuple[Callable[[Subject], str | None], ...] = (
    outputs_have_their_shapes,
    stages_compose,
    examples_are_independent,
    frozen_prefix,
    modes_are_honoured,
    gradients_reach_every_leaf,
    roles_of_leaves,
)
