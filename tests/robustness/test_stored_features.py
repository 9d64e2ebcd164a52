"""Stored features are used again only while the same code would give the same bits."""

import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.data import Dataset
from ftjax.data.streams.loader import Loader
from ftjax.models.stages import Network
from ftjax.registry import PARTS, parts, register
from ftjax.training.feature_cache import compute
from ftjax.training.feature_cache import store as feature_store
from ftjax.training.feature_cache.key import features_key

DATA = Dataset(
    name='d',
    kind='image',
    inputs=np.random.default_rng(0).integers(0, 255, (70, 4, 4, 1)).astype('u1'),
    labels=np.arange(70) % 2,
    class_names=('a', 'b'),
)
LOADER = Loader(DATA)


def network_of(activation):
    """A class as a notebook makes it anew: same name, fields and parameters, other code."""

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, state, mode):
            return {'hidden': activation(nn.Dense(3, name='dense')(state.reshape(len(state), -1)))}

    class Own(Network):
        num_classes: int = 2

        @property
        def stages(self):
            return ('stem', 'head')

        def make_stage(self, name):
            return Layer

        def example_input(self, batch_size=1):
            return jnp.zeros((batch_size, 4, 4, 1))

    return Own()


def variables_of():
    kernel = np.random.default_rng(1).normal(size=(16, 3)).astype('f4') / 100
    return {'params': {'stem': {'dense': {'kernel': kernel, 'bias': np.ones(3, 'f4')}}}}


SHAPES = {'hidden': jax.ShapeDtypeStruct((3,), 'float32')}


def key_of(network, augmentation='none', view=None):
    return features_key(network, 'head', 'w', DATA, None, None, augmentation, view)


class Store:
    """Asks for the features of a network, and counts how often they are computed."""

    def __init__(self, keep):
        self.keep, self.computed = keep, 0

    def __call__(self, network, key):
        work = network, variables_of(), 'head', LOADER, None

        def fill(arrays):
            self.computed += 1
            compute.compute(*work, arrays)

        def probe(arrays):
            return compute.agree(arrays, *next(compute.computed(*work)))

        return self.keep(key, fill, probe).arrays['hidden']


@pytest.fixture(params=['memory', 'files'])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, '_KEPT', type(feature_store._KEPT)())
    if request.param == 'memory':
        return Store(lambda key, *how: feature_store.in_memory(key, SHAPES, 70, 10**9, *how))
    return Store(lambda key, *how: feature_store.in_files(key, SHAPES, 70, tmp_path, *how))


def test_an_edited_network_has_another_key():
    keys = [key_of(network_of(f)) for f in (nn.relu, jnp.cos, nn.relu)]
    assert keys[0] == keys[2] != keys[1]


def test_an_edited_augmentation_has_another_key(monkeypatch):
    monkeypatch.setitem(PARTS, 'augmentation', dict(parts('augmentation')))
    network, keys = network_of(nn.relu), []
    for factor in (1, -1):
        register('augmentation', 'own')(lambda image, key, sign=factor: image * sign)
        keys.append(key_of(network, 'own', 0))
        assert key_of(network, 'own') == key_of(network)  # no view: it is not applied
    assert keys[0] != keys[1]


def test_features_that_the_code_no_longer_gives_are_dropped(store, caplog):
    """Under one key, as where the code that has changed is none that the key knows."""
    first = np.array(store(network_of(nn.relu), 'k' * 64))
    np.testing.assert_array_equal(store(network_of(nn.relu), 'k' * 64), first)
    assert store.computed == 1
    with caplog.at_level(logging.WARNING):
        other = np.array(store(network_of(jnp.cos), 'k' * 64))
    assert store.computed == 2 and 'dropped and computed again' in caplog.text
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(store(network_of(jnp.cos), 'k' * 64), other)
    assert store.computed == 2


def test_features_of_the_program_that_made_them_are_not_computed_again(monkeypatch):
    monkeypatch.setattr(feature_store, '_KEPT', type(feature_store._KEPT)())
    asked, relu, cos = [], network_of(nn.relu), network_of(jnp.cos)

    def keep(network):
        def probe(arrays):
            asked.append(network)
            return True

        by = compute.Prefix(network, None, None, 'none')
        feature_store.in_memory('k' * 64, SHAPES, 70, 10**6, lambda arrays: None, probe, by)

    for network in (relu, relu, cos, cos, relu):
        keep(network)
    assert asked == [cos, relu]
    dropped = feature_store.times_dropped()
    monkeypatch.setattr(feature_store, 'times_dropped', lambda: dropped + 1)
    keep(relu)
    keep(relu)
    assert asked == [cos, relu, relu]


def test_a_single_bit_counts():
    rows, leaf = np.arange(3), np.random.default_rng(0).normal(size=(3, 2)).astype('f4')
    stored = np.concatenate([leaf, leaf])
    assert compute.agree({'x': stored}, rows, {'x': leaf})
    other = leaf.copy()
    other[2, 1] = np.nextafter(other[2, 1], np.float32(9))
    assert not compute.agree({'x': stored}, rows, {'x': other})
    nan = np.full_like(leaf, np.nan)
    assert compute.agree({'x': nan}, rows, {'x': nan.copy()})
