"""`config.precision`: computed in bfloat16, trained, averaged and measured in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from ml_collections import ConfigDict

from ftjax.cli import overrides
from ftjax.config import Config, read_config, template
from ftjax.errors import UserError
from ftjax.models.registry import build
from ftjax.runs.prepare import prepare
from ftjax.runs.run_spec import run_spec
from ftjax.training.step.phase_state import PhaseState

NETS = {
    'vit': {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2, 'channels': 1},
    'resnet_bn_cifar': {'depth': 8, 'width': 4, 'image_size': 8, 'channels': 1},
}


@functools.cache
def prepared(name, precision):
    data = {'source': 'digits', 'examples_per_class': 2, 'val_per_class': 2, 'batch_size': 10}
    model = {'name': name, **NETS[name]}
    values = {'init': '', 'model': model, 'data': data, 'freeze': 'last:1'}
    return prepare(read_config({**values, 'precision': precision}))


def step_of(prepared):
    """(a training step, what it takes)."""
    spec = run_spec(prepared)
    state = PhaseState(spec)
    state.enter(0)
    batch, rates = spec.stream.batch(0), jnp.ones(len(spec.plan.at(0).trainable))
    batch = {name: batch[name] for name in ('inputs', 'labels', 'mask')}
    return spec.train_step(spec.plan.at(0)), (state.state, state.frozen, batch, rates)


def products(jaxpr):
    """The dtypes of operands of all products and convolutions, those of inner programs too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ('dot_general', 'conv_general_dilated'):
            yield str(equation.invars[0].aval.dtype)
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


def test_products_are_bfloat16_and_what_trains_is_float32():
    step, given = step_of(prepared('vit', 'bfloat16'))
    whole, (state, told) = jax.make_jaxpr(step, return_shape=True)(*given)
    found = list(products(whole.jaxpr))
    assert found.count('bfloat16') > 0.8 * len(found)  # the head's are float32
    kept = jax.tree.leaves((given[0], state, told))
    assert {str(x.dtype) for x in kept if jnp.issubdtype(x.dtype, jnp.floating)} == {'float32'}


@pytest.mark.slow
@pytest.mark.parametrize('name', NETS)
def test_a_step_is_close_to_that_in_float32(name):
    exact, rounded = (
        jax.jit(step)(*given)
        for step, given in (step_of(prepared(name, kind)) for kind in ('float32', 'bfloat16'))
    )
    assert rounded[1]['loss'] != exact[1]['loss']
    np.testing.assert_allclose(rounded[1]['loss'], exact[1]['loss'], rtol=0.05)
    np.testing.assert_allclose(rounded[1]['grad_norm'], exact[1]['grad_norm'], rtol=0.1)
    assert {str(x.dtype) for x in rounded[0].trainable.values()} == {'float32'}


def test_the_plan_says_it():
    said = 'precision: computes in bfloat16; weights that train, their moments and the loss'
    assert said in prepared('vit', 'bfloat16').table()
    assert 'precision' not in prepared('vit', 'float32').table()


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        ({'precision': 'bf16'}, "precision 'bf16'; did you mean 'bfloat16'"),
        ({'precision': None}, 'config.precision is None; expected a text'),
        ({'precision': 'bfloat16', 'model': {'dtype': 'float16'}}, 'drop one of the two'),
    ],
)
def test_what_it_cannot_be_is_refused(values, said):
    with pytest.raises(UserError, match=said):
        read_config(values)


def test_a_network_that_has_no_such_field_is_named():
    with pytest.raises(UserError, match=r"'two_layer' has no field dtype.*config\.precision"):
        build('two_layer', {'dtype': 'bfloat16'})


@pytest.mark.parametrize('before', ['head', {'strategy': 'head'}, {'rules': (('.*', 'a'),)}])
def test_fields_of_freeze_are_set_on_whatever_it_was(before):
    """In the file as a text or a mapping, after `template()` or in a ConfigDict by hand."""
    by_hand = ConfigDict({'freeze': before, 'model': {}})
    assigned = template()
    assigned.freeze = before
    for config in (template(freeze=before), assigned, by_hand):
        words = ['--config.freeze.strategy=last:2', '--config.freeze.frozen_dtype=bfloat16']
        if 'rules' in before:
            words[0] = '--config.freeze.rules=((".*", "b"),)'
        rest, changes = overrides.taken(['train.py', *words])
        overrides.make(config, changes)
        freeze = read_config(config).freeze
        assert rest == ['train.py'] and freeze.frozen_dtype == 'bfloat16'
        assert (freeze.rules or freeze.strategy) == (
            ((('.*', 'b'),)) if 'rules' in before else 'last:2'
        )


RULES = {'rules': (('.*', 'a'),), 'multipliers': {'a': 0.5}}
PHASES = '--config.freeze.phases=[(None, "full")]'


@pytest.mark.parametrize(
    ('file', 'words', 'described'),
    [
        (RULES, ['--config.freeze.strategy=head'], ('head', 'head')),
        (RULES, [PHASES], ('full', 'phases')),
        ('head', [PHASES], ('full', 'phases')),
        ('ema', [PHASES], ('ema', 'phases')),
        ('full', ['--config.freeze.strategy=ema', PHASES], ('ema', 'phases')),
        ('full', [PHASES, '--config.freeze.strategy=ema'], ('ema', 'phases')),
        ({'phases': ((None, 'full'),)}, ['--config.freeze.strategy=ema'], ('ema', 'phases')),
        ({'phases': ((None, 'full'),)}, ['--config.freeze.strategy=head'], ('head', 'head')),
        # Both were asked for: make_plan refuses it.
        ('full', ['--config.freeze.strategy=head', PHASES], ('head', 'phases')),
    ],
)
def test_a_field_of_freeze_replaces_what_the_file_says_beside_it(file, words, described):
    config = template(freeze=file)
    overrides.make(config, overrides.taken(words)[1])
    freeze = read_config(config).freeze
    assert (freeze.strategy, freeze.described) == described and not freeze.rules


def test_a_field_of_the_network_is_set_whether_the_file_names_it_or_not():
    config = template(model={'width': 16})
    words = [
        '--config.model.dtype=bfloat16',
        '--config.model.width=32',
        '--config.model.mlp_dim=None',
    ]
    overrides.make(config, overrides.taken(words)[1])
    assert read_config(config).model == {'width': 32, 'dtype': 'bfloat16', 'mlp_dim': None}
    assert Config(precision='bfloat16', model={'dtype': 'bfloat16'}).model_options == {
        'dtype': 'bfloat16'
    }
