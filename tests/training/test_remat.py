"""Stages that run again in the backward pass: the same losses, less memory, one more forward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.freezing.plan.plan import make_plan
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings, make_optimizer
from ftjax.tasks import task_of
from ftjax.training.cost.cost import compile_step
from ftjax.training.settings import TrainSettings
from ftjax.training.step.forward import rematerialised
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.step.state import make_state
from ftjax.training.step.train_step import TrainStep
from ftjax.xla.cost_analysis import flops_of

DEEP = {'image_size': 32, 'patch_size': 4, 'width': 24, 'depth': 6, 'heads': 3, 'num_classes': 3}
SETTINGS = OptimizerSettings(learning_rate=1e-2, weight_decay=0.1, clip_norm=1.0)
BATCH = 16
TINY = {
    'vit': ('vit', {**DEEP, 'image_size': 8, 'width': 12, 'depth': 3, 'dropout': 0.1}),
    'drop_path': ('vit', {**DEEP, 'image_size': 8, 'width': 12, 'depth': 3, 'drop_path': 0.3}),
    'batch_norm': ('resnet_bn_cifar', {'depth': 8, 'width': 4, 'image_size': 8, 'num_classes': 3}),
    'bert': (
        'bert',
        {'vocab_size': 12, 'width': 8, 'depth': 3, 'heads': 2, 'mlp_dim': 12, 'num_classes': 3},
    ),
    'gpt2': (
        'gpt2',
        {'vocab_size': 12, 'width': 8, 'depth': 2, 'heads': 2, 'head': 'lm', 'max_positions': 8},
    ),
}


def filled(net):
    shapes = jax.eval_shape(net.init, jax.random.key(0), net.example_input())
    draw = np.random.default_rng(0)
    return jax.tree.map(lambda x: draw.uniform(0.1, 0.5, x.shape).astype(x.dtype), shapes)


def compiled(net, strategy, remat, batch=BATCH):
    shapes = jax.eval_shape(net.init, jax.random.key(0), net.example_input())
    plan = make_plan(strategy, net, shapes)
    spec = RunSpec(
        *(net, shapes, plan),
        optimizer=SETTINGS,
        settings=TrainSettings(remat=remat),
        batch_size=batch,
        task_without_data='classification' if net.num_classes else 'masked_tokens',
    )
    return compile_step(spec, plan.at(0))


@pytest.fixture
def optimised():
    """Programs as runs have them: the quick tests compile them quickly, and keep more."""
    before = jax.config.read('jax_disable_most_optimizations')
    jax.config.update('jax_disable_most_optimizations', False)
    yield
    jax.config.update('jax_disable_most_optimizations', before)


@pytest.mark.usefixtures('optimised')
@pytest.mark.parametrize('again', [False, True])
def test_what_runs_again_is_not_kept(again):
    def layer(weights, others, x):
        return jnp.tanh(jnp.tanh(jnp.tanh(x @ weights) @ weights) @ weights), others

    layer = rematerialised(layer) if again else layer

    def loss(weights, x):
        for _ in range(8):
            x, _ = layer(weights, {'count': jnp.int32(3)}, x)
        return x.sum()

    x, weights = jnp.ones((64, 32)), jnp.full((32, 32), 0.1)
    compiled = jax.jit(jax.grad(loss)).lower(weights, x).compile()
    kept = compiled.memory_analysis().temp_size_in_bytes / x.nbytes
    # 24 outputs there are; 8 flow between layers, and those of one layer come beside them.
    assert (kept < 18) if again else (kept > 22), kept
    by_hand = jax.grad(lambda w: jnp.sum(reference(w, x)))(weights)
    np.testing.assert_allclose(compiled(weights, x), by_hand, rtol=1e-5)


def reference(weights, x):
    for _ in range(24):
        x = jnp.tanh(x @ weights)
    return x


@pytest.mark.slow
def test_memory_falls_and_flops_rise_by_no_more_than_a_forward():
    net = build('vit', DEEP)
    kept, again = (compiled(net, 'full', remat) for remat in (False, True))
    temporary = [x.memory_analysis().temp_size_in_bytes for x in (kept, again)]
    assert temporary[1] < 0.5 * temporary[0], temporary
    shapes = jax.eval_shape(net.init, jax.random.key(0), net.example_input())
    forward = flops_of(jax.jit(net.apply).lower(shapes, net.example_input(BATCH)).compile())
    extra = flops_of(again) - flops_of(kept)
    assert 0.5 * forward < extra <= 1.05 * forward, (extra, forward)


@pytest.mark.slow
def test_stages_before_the_cut_run_once():
    net = build('vit', DEEP)
    kept, again = (flops_of(compiled(net, 'last:2', remat)) for remat in (False, True))
    shapes = jax.eval_shape(net.init, jax.random.key(0), net.example_input())
    hidden = jax.eval_shape(
        lambda v: net.apply(v, net.example_input(BATCH), stop='block_04'), shapes
    )
    run = jax.jit(lambda v, h: net.apply(v, h, start='block_04'))
    trained = flops_of(run.lower(shapes, hidden).compile())
    assert 0.5 * trained < again - kept <= 1.05 * trained


def steps(net, variables, strategy, remat, count=3):
    phase = make_plan(strategy, net, variables).at(0)
    tx = make_optimizer(phase, SETTINGS)
    state, frozen = make_state(variables, phase, tx)
    lm = not net.num_classes
    task = 'masked_tokens' if lm else 'classification'
    step = jax.jit(
        TrainStep(
            network=net, phase=phase.program, optimizer=SETTINGS, remat=remat, task=task_of(task)
        )
    )
    inputs = net.example_input(4)
    draw = np.random.default_rng(1)
    if isinstance(inputs, dict):
        ids = jnp.asarray(draw.integers(1, 12, inputs['input_ids'].shape), jnp.int32)
        inputs = {**inputs, 'input_ids': ids, 'attention_mask': jnp.ones_like(ids)}
    else:
        inputs = jnp.asarray(draw.random(inputs.shape), jnp.float32)
    labels = inputs['input_ids'] if lm else jnp.arange(4, dtype=jnp.int32) % 3
    batch = {'inputs': inputs, 'labels': labels, 'mask': jnp.ones(labels.shape)}
    rates = jnp.full(len(phase.trainable), 1e-2)
    losses = []
    for _ in range(count):
        state, metrics = step(state, frozen, batch, rates)
        losses.append((float(metrics['loss']), float(metrics['grad_norm'])))
    return np.array(losses), state


@pytest.mark.slow
@pytest.mark.parametrize('strategy', ['full', 'last:1'])
@pytest.mark.parametrize('name', TINY)
def test_losses_gradients_and_statistics_are_the_same(name, strategy):
    family, options = TINY[name]
    net = build(family, options)
    variables = filled(net)
    (kept, one), (again, two) = (steps(net, variables, strategy, on) for on in (False, True))
    # Noise falls on the same places: a stage draws by its own name. What is fused anew differs
    # in last digits, of the gradients and so of the losses from the second step on.
    np.testing.assert_allclose(again[:, 0], kept[:, 0], rtol=1e-6)
    np.testing.assert_allclose(again[:, 1], kept[:, 1], rtol=1e-4)
    for path, leaf in one.trainable.items():
        if path.endswith('key/bias'):  # softmax does not see it: its gradient is rounding alone
            continue
        np.testing.assert_allclose(two.trainable[path], leaf, rtol=1e-3, atol=1e-4, err_msg=path)
    for path, leaf in one.stats.items():
        np.testing.assert_allclose(two.stats[path], leaf, rtol=1e-5, err_msg=path)
