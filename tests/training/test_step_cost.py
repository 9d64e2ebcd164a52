"""Frozen costs nothing: FLOPs of the compiled step against pieces compiled on their own."""

import jax
import jax.numpy as jnp
import pytest

from ftjax.freezing import make_plan
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.training.cost.cost import forward_flops, phase_cost
from ftjax.training.step.run_spec import RunSpec
from ftjax.xla.cost_analysis import flops_of

NET = build('vit', {'image_size': 64, 'patch_size': 16, 'width': 64, 'depth': 12, 'heads': 2})
BATCH = 8


@pytest.fixture(scope='module')
def variables():
    return jax.jit(NET.init)(jax.random.key(0), NET.example_input())


def backward_flops(variables, start):
    """FLOPs of the backward pass from a stage on, by what a gradient costs above a forward."""
    phase = make_plan('last:2' if start != 'head' else 'head', NET, variables).at(0)
    hidden = jax.eval_shape(lambda v: NET.apply(v, NET.example_input(BATCH), stop=start), variables)
    own = {stage: variables['params'][stage] for stage in NET.stages if stage >= start}
    own = {s: variables['params'][s] for s in NET.stages[NET.stages.index(start) :]}
    assert phase.cut == start

    def loss(params, hidden):
        return NET.apply({'params': params}, hidden, start=start).sum()

    both = flops_of(jax.jit(jax.grad(loss)).lower(own, hidden).compile())
    forward = flops_of(jax.jit(loss).lower(own, hidden).compile())
    return both - forward


def cost_of(variables, plan, settings=None, size=BATCH):
    settings = settings or OptimizerSettings()
    spec = RunSpec(NET, variables, plan, optimizer=settings, batch_size=size)
    return phase_cost(spec, plan.at(0))


def forward_of(variables):
    plan = make_plan('full', NET, variables)
    return forward_flops(RunSpec(NET, variables, plan, batch_size=BATCH))


@pytest.mark.parametrize('parts', [1, 2])
@pytest.mark.parametrize(('freeze', 'start'), [('head', 'head'), ('last:2', 'block_10')])
def test_a_step_costs_forward_and_the_backward_of_what_trains(variables, freeze, start, parts):
    settings = OptimizerSettings(clip_norm=1.0, accumulate=parts, ema=0.9, weight_decay=0.1)
    plan = make_plan(freeze, NET, variables)
    cost = cost_of(variables, plan, settings, BATCH * parts)
    ideal = parts * (forward_of(variables) + backward_flops(variables, start))
    trained = plan.at(0).size(trainable_only=True)
    # The update's own arithmetic, some 20 operations a trainable parameter, is no pass through
    # the network; phase_cost counts it once for each part.
    assert cost.flops <= 1.05 * ideal + 40 * trained * parts
    assert cost.flops >= 0.95 * ideal


def test_the_optimizer_holds_two_moments_of_what_trains(variables):
    plan = make_plan('head', NET, variables)
    cost = cost_of(variables, plan)
    moments = 2 * 4 * plan.at(0).size(trainable_only=True)
    assert moments <= cost.optimizer_bytes <= moments + 64


def test_full_costs_three_forwards(variables):
    full = cost_of(variables, make_plan('full', NET, variables))
    ratio = full.flops / forward_of(variables)
    assert 2.5 < ratio < 3.6
    assert jnp.isfinite(full.flops)
