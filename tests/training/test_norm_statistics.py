"""Running statistics estimated anew, against those of the whole data computed by NumPy."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from ftjax.data import Dataset, Splits
from ftjax.freezing.plan.plan import make_plan
from ftjax.freezing.plan.verification import Verification
from ftjax.models.registry import build
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.training.loop.batch_norm_recalibration import recomputed
from ftjax.training.loop.fit import fit, with_statistics_of
from ftjax.training.loop.fit_result import FitResult
from ftjax.training.settings import TrainSettings
from ftjax.training.step.run_spec import RunSpec
from ftjax.training.sweeps.weight_averaging import fit_averaged

NET = build('resnet_bn_cifar', {'depth': 8, 'width': 4, 'image_size': 8, 'num_classes': 3})
IMAGES = np.random.default_rng(0).random((24, 8, 8, 3), np.float32)


@pytest.fixture(scope='module')
def variables():
    return jax.jit(NET.init)(jax.random.key(0), NET.example_input())


def first_convolution(variables, images):
    """What the first normalisation layer sees."""
    kernel = variables['params']['stem']['conv']['kernel']
    module = nn.Conv(4, (3, 3), padding=1, use_bias=False)
    return np.asarray(module.apply({'params': {'kernel': kernel}}, images), np.float64)


def test_means_and_variances_are_those_of_all_batches(variables):
    made = recomputed(NET, variables, [IMAGES[:8], IMAGES[8:16], IMAGES[16:]])
    seen = first_convolution(variables, IMAGES)
    found = made['batch_stats']['stem']['norm']
    assert np.allclose(found['mean'], seen.mean((0, 1, 2)), atol=1e-6)
    # Running variances are unbiased, batch by batch, as PyTorch keeps them.
    parts = seen.reshape(3, 8, *seen.shape[1:])
    within = parts.var((1, 2, 3), ddof=1).mean(0)
    assert np.allclose(found['var'], within + parts.mean((1, 2, 3)).var(0), rtol=1e-5)
    old = flatten_dict(variables['params'], sep='/')
    new = flatten_dict(made['params'], sep='/')
    assert all(np.array_equal(old[path], new[path]) for path in old)
    # Nothing of the old statistics is left, whatever momentum is.
    spoilt = {**variables, 'batch_stats': jax.tree.map(lambda x: x + 7, variables['batch_stats'])}
    again = recomputed(NET, spoilt, [IMAGES[:8], IMAGES[8:16], IMAGES[16:]])
    for one, two in zip(
        jax.tree.leaves(made['batch_stats']), jax.tree.leaves(again['batch_stats']), strict=True
    ):
        assert np.allclose(one, two, rtol=1e-4, atol=1e-5)


def test_only_the_chosen_stages_change_and_see_the_old_statistics_before_them(variables):
    spoilt = {**variables, 'batch_stats': jax.tree.map(lambda x: x + 7, variables['batch_stats'])}
    last = NET.blocks[-1]
    made = recomputed(NET, spoilt, [IMAGES], stages={'stem', last})['batch_stats']
    for name, stats in spoilt['batch_stats'].items():
        same = jax.tree.leaves(jax.tree.map(np.array_equal, stats, made[name]))
        assert not any(same) if name in ('stem', last) else all(same)
    found = made['stem']['norm']['mean']
    assert np.allclose(found, first_convolution(variables, IMAGES).mean((0, 1, 2)), atol=1e-6)
    other = recomputed(NET, variables, [IMAGES], stages={'stem', last})['batch_stats']
    assert not np.allclose(other[last]['norm1']['mean'], made[last]['norm1']['mean'], atol=1e-3)
    assert recomputed(NET, spoilt, [], stages=())['batch_stats'] is spoilt['batch_stats']


def test_a_network_without_statistics_is_left_as_it_is():
    net = build('resnet_gn_cifar', {'depth': 8, 'width': 8, 'image_size': 8, 'num_classes': 3})
    own = jax.jit(net.init)(jax.random.key(0), net.example_input())
    assert recomputed(net, own, []) == dict(own)


def spec_of(freeze, variables):
    def split(name, count):
        labels = np.arange(count) % 3
        return Dataset(
            name=name,
            kind='image',
            inputs=IMAGES[:count],
            labels=labels,
            class_names=('a', 'b', 'c'),
        )

    data = Splits(train=split('train', 24), val=split('val', 6), test=split('test', 6))
    return RunSpec(
        NET,
        variables,
        make_plan(freeze, NET, variables),
        data,
        optimizer=OptimizerSettings(),
        settings=TrainSettings(steps=3),
        batch_size=8,
    )


def test_the_policy_recompute_estimates_once_and_then_freezes(variables):
    freeze = {'strategy': 'last:1', 'norm': 'recompute'}
    result = fit(spec_of(freeze, variables), progress=False)
    seen = first_convolution(variables, IMAGES)
    found = result.variables['batch_stats']['stem']['norm']
    assert np.allclose(found['mean'], seen.mean((0, 1, 2)), atol=1e-5)
    assert result.verification.frozen_unchanged
    assert not result.plan.moving_stats


def test_runs_that_are_averaged_share_the_statistics_that_are_estimated_once(variables):
    spec = spec_of({'strategy': 'head+soup_uniform:2', 'norm': 'recompute'}, variables)
    members = []

    def moved(own, folder):
        """What `fit` does, as far as variables go."""
        del folder
        start = (with_statistics_of(own) if own.plan.recompute else own).variables
        head = jax.tree.map(lambda leaf: leaf + 1 + len(members), start['params']['head'])
        members.append({**start, 'params': {**start['params'], 'head': head}})
        told = Verification((), ())
        return FitResult(members[-1], own.plan, 3, 3, {}, [], told, 0, 0.0, None, 0.0, None, [])

    result, _ = fit_averaged(spec, moved, None)
    assert result.verification.frozen_unchanged
    one, two = (flatten_dict(each['batch_stats'], sep='/') for each in members)
    assert all(np.array_equal(one[path], two[path]) for path in one)
    seen = first_convolution(variables, IMAGES)
    found = result.variables['batch_stats']['stem']['norm']
    assert np.allclose(found['mean'], seen.mean((0, 1, 2)), atol=1e-5)
