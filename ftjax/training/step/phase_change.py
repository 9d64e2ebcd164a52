"""What a change of phase does to weights and state: carried on, begun anew, or held rounded."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ftjax.freezing.partition import combine
from ftjax.freezing.plan.phase import Phase
from ftjax.leaves import flatten
from ftjax.models.stages import Network
from ftjax.optim.optimizer_state import carry
from ftjax.pretrained.initialise import random_leaves
from ftjax.pytrees import Flat, Variables
from ftjax.training.step.state import Frozen, TrainState, split


def carried(
    state: TrainState,
    variables: Variables,
    phase: Phase,
    tx: optax.GradientTransformation,
    reset: bool,
) -> tuple[TrainState, Frozen]:
    """State and frozen part of a phase, with what stays of the state of the one before it.

    Args:
      state: as the phase before leaves it.
      variables: the network's, those re-initialised for this phase included.
      phase, tx: the new phase and its optimizer.
      reset: whether no moments are carried.
    """
    trainable, moving, frozen = split(variables, phase)
    # Buffers may come from `frozen`, which later phases read again: the state is donated.
    trainable, moving = jax.tree.map(jnp.array, (trainable, moving))
    opt_state = tx.init(trainable)
    anew = frozenset(phase.reinit)
    if not reset:
        opt_state = carry(state.opt_state, opt_state, anew)
    ema = state.ema
    if ema is not None:
        ema = {
            path: ema[path] if path in ema and path not in anew else jnp.array(leaf)
            for path, leaf in trainable.items()
        }
    state = state.replace(trainable=trainable, stats=moving, opt_state=opt_state, ema=ema)
    return state, frozen


def masters_of(variables: Variables, phase: Phase) -> Flat:
    """The leaves that a phase holds rounded, on the host, by path; none that rounding keeps."""
    if not phase.stored:
        return {}
    params = flatten(variables['params'])
    rounded = {path for path, dtype in phase.stored.items() if params[path].dtype != dtype}
    return {path: np.asarray(params[path]) for path in rounded}


def reinitialised(
    network: Network, variables: Variables, paths: tuple[str, ...], seed: int, step: int
) -> dict[str, object]:
    """The variables with new random values for some leaves, from the run's seed and the step."""
    if not paths:
        return dict(variables)
    params = flatten(variables['params'])
    draw = int(np.random.default_rng((seed, step, 5)).integers(2**31))
    found = random_leaves(network, {f'params/{path}' for path in paths}, draw)
    for key, leaf in found.items():
        path = key.removeprefix('params/')
        params[path] = leaf.astype(params[path].dtype)
    return {**variables, 'params': combine(params)}
