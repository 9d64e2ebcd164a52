"""Leaves in parts along `fsdp`: what a compiled step holds, and what the plan says it moves."""

import json
import os
import pathlib
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import pytest

from ftjax.freezing.plan.plan import make_plan
from ftjax.models.registry import build
from ftjax.training.cost.traffic import Traffic, choices
from ftjax.training.step.run_spec import RunSpec
from ftjax.xla.stage_weights import not_of_weights, pulled, signal_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASE = {'fsdp': 8, 'remat': True, 'freeze': 'full'}


def test_a_ring_moves_what_the_arithmetic_says():
    # 4 x 2 devices, 80 bytes of leaves gathered twice, 80 of gradients in parts and 8 whole.
    one = Traffic(0, 0, forward=80, backward=80, reduced=80, copied=8, data=4, fsdp=2)
    assert one.along_fsdp == 3 * 80 / 2 + 2 * 8 / 2
    assert one.along_data == 2 * 40 * 3 / 4 + 2 * 8 * 3 / 4
    assert one.moved == one.along_fsdp + one.along_data
    alone = Traffic(0, 0, forward=80, backward=80, reduced=80, copied=8, data=1, fsdp=1)
    assert alone.moved == 0


def test_a_pullback_holds_activations_and_no_weights():
    def stage(own, others, inputs):
        fixed, stats = others
        hidden = jnp.tanh(inputs @ own['w'].astype(jnp.bfloat16).astype(jnp.float32))
        return hidden @ fixed['v'].T, stats

    own, fixed = {'w': jnp.full((8, 16), 0.1)}, {'v': jnp.full((8, 16), 0.2)}
    inputs = jnp.ones((4, 8))
    outputs, _, rest, hole = pulled(stage, own, fixed, {}, inputs)
    assert rest and all(x.shape not in ((8, 16), (16, 8)) for x in rest)
    found = hole.filled(rest, {**own, **fixed})(outputs)
    _, pullback = jax.vjp(lambda own, x: stage(own, (fixed, {}), x)[0], own, inputs)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, found, pullback(outputs)))


def test_the_policy_goes_by_shapes_of_weights():
    keep = not_of_weights({(8, 16)})
    weight, hidden, one = (types.SimpleNamespace(shape=s) for s in ((8, 16), (4, 8), ()))
    assert not keep(None, weight) and not keep(None, weight, one)
    assert keep(None, hidden, weight) and keep(None, one)


def test_a_signal_is_a_number_of_each_example():
    found = signal_of({'mask': jnp.ones((3, 2), bool), 'x': jnp.arange(6.0).reshape(3, 2)})
    assert found.tolist() == [0.0, 2.0, 4.0]
    assert signal_of({'ids': jnp.ones((3, 2), jnp.int32)}).tolist() == [1.0, 1.0, 1.0]


def test_choices_pin_what_they_say():
    sizes = {'patch_size': 4, 'image_size': 8, 'width': 32, 'depth': 2, 'heads': 2}
    net = build('vit', {**sizes, 'num_classes': 3})
    variables = jax.eval_shape(lambda: net.init(jax.random.key(0), net.example_input(1)))
    plan = make_plan('last:1', net, variables)
    found = choices(RunSpec(net, variables, plan, batch_size=8), plan.at(0))
    assert [name.split(':')[0] for name in found] == [
        'as the config says',
        'frozen leaves before the cut whole',
    ]
    assert "('(embed|block_00)/.*', 'whole')" in list(found)[1]
    # On one device all leaves are whole, and nothing moves.
    assert {one.moved for one in found.values()} == {0}


@pytest.mark.slow
def test_a_block_takes_its_share_of_a_device_and_what_it_passes_on():
    """What a network of more blocks takes more: leaves / fsdp, gradients / fsdp, one hidden state.

    Were gathered leaves kept, or gradients whole, a block would take several times that.
    """
    given = [json.dumps({**CASE, 'depth': depth}) for depth in (8, 12)]
    flag = '--xla_force_host_platform_device_count=8'
    env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flag, 'PYTHONPATH': str(ROOT)}
    env['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '0'  # memory is that of programs as they run
    done = subprocess.run(
        [sys.executable, pathlib.Path(__file__).with_name('mesh_step.py'), *given],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    small, large = json.loads(done.stdout.splitlines()[-1])
    assert small['share'] < 0.15 * small['block']
    held = (large['arguments'] - small['arguments']) / 4
    assert abs(held / small['share'] - 3) < 0.01  # the leaves and two moments
    inside = (large['temporary'] - small['temporary']) / 4
    expected = 4 * small['share'] + small['passed_on']
    assert abs(held + inside - expected) <= 0.1 * expected
    assert large['temporary'] < large['leaves'] / 2
