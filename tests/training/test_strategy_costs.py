"""What strategies cost, compiled, against the closed form of what they cannot do without."""

import sys

import jax
import pytest

from ftjax.freezing.registry import catalogue
from ftjax.models.registry import build

QUICK = ('bitfit',)
ARMS = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
    for name in (*sorted(catalogue()), 'full, muon', 'full, galore:8', 'lora:8,all')
]


@pytest.fixture(scope='module')
def benchmark(repository):
    """The benchmark whose table these are rows of."""
    sys.path.insert(0, str(repository / 'scripts'))
    from benchmarks import ideal_vit, strategies

    yield strategies, ideal_vit
    sys.path.remove(str(repository / 'scripts'))


@pytest.fixture(scope='module')
def network():
    options = {'image_size': 112, 'patch_size': 16, 'width': 192, 'depth': 12, 'heads': 3}
    found = build('vit', {**options, 'num_classes': 10})
    shapes = jax.eval_shape(found.init, jax.random.key(0), found.example_input())
    return found, jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), shapes)


@pytest.mark.parametrize('arm', ARMS)
def test_no_strategy_costs_more_than_a_tenth_above_its_ideal(arm, benchmark, network):
    strategies, ideal_vit = benchmark
    found = catalogue().get(arm)
    text = arm if found is None else strategies.WRITTEN.get(arm, found.example)
    optimizer = strategies.OPTIMIZERS.get(text, 'adamw')
    freeze = 'full' if text in strategies.OPTIMIZERS else text
    timed = strategies.Timed(*network, freeze, optimizer)
    shapes = strategies.shapes_of(timed.variables)
    phases = timed.plan.phases
    # The dearest, the cheapest and one phase between stand for all.
    for phase in (phases[0], phases[len(phases) // 2], phases[-1]):
        flops = timed.compiled(phase)[1].flops
        needed = ideal_vit.ideal_flops(network[0], shapes, phase.trainable, strategies.BATCH)
        ideal = needed + strategies.optimizer_flops(optimizer, shapes)
        assert 0.95 * ideal <= flops <= 1.10 * ideal, phase.start


@pytest.mark.slow
def test_features_of_all_stages_cost_a_forward_pass(benchmark, network):
    strategies, ideal_vit = benchmark
    from ftjax.evaluation.stage_features import StageForward
    from ftjax.xla.program_cache import program

    model, variables = network
    stages = tuple(name for name in model.stages if name != 'head')
    given = jax.device_put((variables, model.example_input(strategies.BATCH)))
    flops = program(StageForward(model, None, stages), *given).flops
    shapes = strategies.shapes_of(variables)
    ideal = ideal_vit.forward_flops(model, shapes, strategies.BATCH, stages[-1])
    assert 0.95 * ideal <= flops <= 1.10 * ideal
