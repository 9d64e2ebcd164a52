"""Losses and gradients of a decoder: the same however texts are laid out and shared out."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from lm_mesh import PAIRS, losses, spec
from tiny_decoder import decoder, initial, preprocessing_of, texts

from ftjax.data.streams.loader import Loader
from ftjax.data.text.stacked_batches import stacked
from ftjax.tasks import task_of
from ftjax.training.loop.step_runner import model_inputs
from ftjax.training.step.phase_state import PhaseState

TASK = task_of('causal_lm')
ROOT = pathlib.Path(__file__).parents[2]


def shifted(batch):
    """The same batch, padded on the left."""

    def moved(array, lengths):
        rows = zip(array, lengths, strict=True)
        return np.stack([np.roll(row, array.shape[1] - count, axis=0) for row, count in rows])

    counts = batch['inputs']['attention_mask'].sum(1)
    inputs = {name: moved(array, counts) for name, array in batch['inputs'].items()}
    more = {name: moved(batch[name], counts) for name in ('labels', 'mask')}
    return {**batch, **more, 'inputs': inputs}


def test_packing_and_padding_change_neither_loss_nor_gradient(tmp_path):
    net = decoder(depth=1, window=4)
    variables = initial(net)
    loader = Loader(
        texts(PAIRS[:8]), None, preprocessing_of(net, tmp_path, max_length=32, buckets=())
    )
    right = loader.batch(np.arange(8), length=32)
    ways = {'right': right, 'left': shifted(right), 'packed': loader.packed(np.arange(8), 5)}

    @jax.jit
    def found(variables, batch):
        def loss(variables):
            total, weight = TASK.loss(net.apply(variables, batch['inputs']), batch)
            return total / weight

        return jax.value_and_grad(loss)(variables)

    one, slopes = found(variables, right)
    assert right['mask'].sum() == sum(len(answer.split()) + 1 for _, answer in PAIRS[:8])
    for batch in ways.values():
        loss, got = found(variables, batch)
        assert loss == pytest.approx(float(one), abs=1e-5)
        for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(got), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize('packed', [False, True])
def test_steps_of_one_call_may_be_of_several_shapes(packed, tmp_path):
    """As at an epoch's end, where the next one begins with texts of other lengths."""
    net = decoder(depth=1)
    variables, prep = initial(net), preprocessing_of(net, tmp_path, max_length=32, buckets=())
    loader, first, second = Loader(texts(PAIRS), None, prep), np.arange(4), np.arange(4, 9)
    group = [loader.batch(first, length=28), loader.batch(first + 4, length=32)]
    if packed:
        group = [loader.packed(first, 3), loader.packed(second, 6)]
    both = stacked([model_inputs(one) for one in group], prep)
    for number, one in enumerate(group):
        part = jax.tree.map(lambda x, number=number: x[number], both)
        alone, whole = (
            TASK.loss(net.apply(variables, each['inputs']), each) for each in (one, part)
        )
        np.testing.assert_allclose(whole, alone, rtol=1e-5)


CASES = {
    'plain': {},
    'two parts': {'accumulate': 2},
    'four parts': {'accumulate': 4},
    'again': {'remat': True},
    'packed': {'packed': True, 'rate': 1e-9},
    'packed, two parts': {'packed': True, 'accumulate': 2, 'rate': 1e-9},
    'alone': {'rate': 1e-9},
    'last': {'freeze': 'last:1'},
    'stored': {'freeze': 'last:1', 'cache': 'on'},
    'lora': {'freeze': 'lora:2'},
}


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cases')
    return {name: losses(case, folder) for name, case in CASES.items()}


@pytest.mark.slow
def test_accumulation_remat_and_stored_features_change_nothing(found):
    for name in ('two parts', 'four parts', 'again'):
        np.testing.assert_allclose(found[name], found['plain'], atol=1e-5)
    np.testing.assert_allclose(found['stored'], found['last'], atol=1e-5)
    assert found['plain'][0] > found['plain'][-2] and found['lora'] != found['last']


@pytest.mark.slow
def test_a_packed_epoch_has_the_loss_of_an_epoch(found):
    # Steps hold other texts, the epoch the same ones: the mean over tokens is that of steps by
    # their tokens, which the losses of 16 texts each approach; the validation is the same.
    for name in ('packed', 'packed, two parts'):
        assert found[name][-1] == pytest.approx(found['alone'][-1], abs=1e-5)
        np.testing.assert_allclose(found[name], found['packed'], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('mesh', [{}, {'data': 4, 'fsdp': 2}])
def test_eight_devices_have_the_losses_of_one(found, mesh, tmp_path):
    names = ['plain', 'two parts', 'packed', 'lora', 'stored']
    cases = [{**CASES[name], 'mesh': mesh} for name in names]
    (tmp_path / 'cases.json').write_text(json.dumps(cases))
    flags = '--xla_force_host_platform_device_count=8'
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / 'tests/causal_lm/lm_mesh.py'),
            tmp_path / 'cases.json',
            tmp_path,
        ],
        env={**os.environ, 'XLA_FLAGS': flags, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name, got in zip(names, json.loads(done.stdout.splitlines()[-1]), strict=True):
        np.testing.assert_allclose(got, found[name], atol=1e-5, err_msg=name)


def test_a_batch_in_which_nothing_counts_has_a_loss_of_zero(tmp_path):
    run = spec({'accumulate': 2}, tmp_path)
    state = PhaseState(run)
    state.enter(0)
    step = run.train_step(run.plan.at(0))
    batch = run.stream.batch(0)
    nothing = {**batch, 'mask': np.zeros_like(batch['mask'])}
    rates = np.ones(len(state.phase.trainable), np.float32)
    (loss, _), slopes = jax.jit(step.gradients)(state.state, state.frozen, nothing, rates)
    assert loss == 0 and all(not np.asarray(x).any() for x in slopes.values())
