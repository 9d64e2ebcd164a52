"""What strategies cost, compiled, against the closed form of what they cannot do without."""

import sys

import jax
import pytest
from flax.traverse_util import flatten_dict

from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.registry import catalogue
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.settings import as_settings
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.training.cost.cost import phase_cost
from ftjax.training.step.run_spec import RunSpec

OPTIONS = {'image_size': 112, 'patch_size': 16, 'width': 192, 'depth': 12, 'heads': 3}
SETTINGS = OptimizerSettings(weight_decay=0.05, clip_norm=1.0, accumulate=1)
BATCH = 8
QUICK = ('bitfit',)
STRATEGIES = [
    pytest.param(found.example, marks=[] if name in QUICK else pytest.mark.slow)
    for name, found in sorted(catalogue().items())
]


@pytest.fixture(scope='module')
def ideal_flops(repository):
    sys.path.insert(0, str(repository / 'scripts'))
    from benchmarks.ideal_vit import ideal_flops

    yield ideal_flops
    sys.path.remove(str(repository / 'scripts'))


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_no_strategy_costs_more_than_a_tenth_above_its_ideal(strategy, ideal_flops):
    network = build('vit', {**OPTIONS, 'num_classes': 10})
    shapes = jax.eval_shape(network.init, jax.random.key(0), network.example_input())
    variables = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), shapes)
    settings = as_settings(strategy)
    whole, variables = with_adapters(settings, network, variables)
    plan = make_plan(settings, whole, variables, run_length=RunLength(140, 10))
    sizes = {p: leaf.shape for p, leaf in flatten_dict(variables['params'], sep='/').items()}
    # The dearest, the cheapest and one phase between stand for all.
    phases = {
        p.start: p for p in (plan.phases[0], plan.phases[len(plan.phases) // 2], plan.phases[-1])
    }
    spec = RunSpec(whole, variables, plan, optimizer=SETTINGS, batch_size=BATCH)
    for phase in phases.values():
        cost = phase_cost(spec, phase)
        ideal = ideal_flops(network, sizes, phase.trainable, BATCH)
        assert 0.95 * ideal <= cost.flops <= 1.10 * ideal, phase.start
