"""T2's network: its stages, its shapes, and that it has no norms."""

import jax
import jax.numpy as jnp
import pytest

from ftjax.errors import UserError
from ftjax.freezing.plan.plan import make_plan
from ftjax.models.registry import build, options_of
from ftjax.pretrained.initialise import random_variables

SMALL = {'widths': (4, 6, 6), 'dense': 8, 'image_size': 8, 'num_classes': 3}


@pytest.fixture
def network():
    return build('plain_convolutions', SMALL)


def test_every_layer_is_a_block_and_halves_the_image_twice(network):
    assert network.stages == ('block_00', 'block_01', 'block_02', 'block_03', 'head')
    assert build(*options_of(network)) == network
    variables = random_variables(network, 0)
    images = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    inside = network.apply(variables, images, stop='block_03')
    assert inside['hidden'].shape == (2, 2, 2, 6)
    logits = network.apply(variables, images)
    assert logits.shape == (2, 3)
    again = network.apply(variables, inside, start='block_03')
    assert jnp.array_equal(logits, again)


def test_the_variance_is_kept_from_layer_to_layer(network):
    wide = build('plain_convolutions', {**SMALL, 'widths': (64,) * 5, 'image_size': 16})
    images = jax.random.normal(jax.random.key(0), (8, 16, 16, 3))
    variables = random_variables(wide, 0)
    first, last = (
        wide.apply(variables, images, stop=stop)['hidden'].std()
        for stop in ('block_03', 'block_05')
    )
    assert 0.5 < last / first < 2  # under LeCun's values it falls by half


def test_anb_copies_n_layers_and_there_is_no_norm_to_train(network):
    variables = random_variables(network, 0)
    for n in range(5):
        phase = make_plan(f'anb:{n}', network, variables).at(0)
        frozen = {path.split('/')[0] for path in phase.leaves} - {
            path.split('/')[0] for path in phase.trainable
        }
        assert frozen == {f'block_{layer:02d}' for layer in range(n)}
    with pytest.raises(UserError, match='normalisation'):
        make_plan('norm', network, variables)
