"""`check_model` finds what is wrong with a network of one's own, and nothing where all is well."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ftjax import registry
from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.models.stages import Network
from ftjax.pretrained.families.own import own_family
from ftjax.pretrained.keymaps.keymap import dense_1x1, per_channel
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.before_training import stage_checks
from ftjax.runs.before_training.checked_network import EXAMPLES, Subject, moved
from ftjax.runs.before_training.model_check import check_model, reference_outputs, result
from ftjax.runs.prepare import prepare


class Layer(nn.Module):
    """A dense layer that can be wrong in several ways."""

    fault: str = ''
    last: bool = False

    @nn.compact
    def __call__(self, state, mode):
        x = state['hidden'] if isinstance(state, dict) else state.reshape(len(state), -1)
        if self.last:
            return nn.Dense(3, name='dense')(x)
        noisy = self.fault == 'dropout'
        x = nn.Dense(6, name='dense')(x)
        x = nn.BatchNorm(
            use_running_average=not mode.batch_stats and self.fault != 'statistics', name='norm'
        )(x)
        x = nn.Dropout(0.5)(x, deterministic=mode.deterministic and not noisy)
        if self.fault == 'unused':
            self.param('table', nn.initializers.ones, (4,))
        if self.fault == 'mixing':
            x = x + x.mean(axis=0)
        if self.fault == 'flat':
            x = x.reshape(-1)
        return x if self.fault == 'bare' else {'hidden': nn.tanh(x)}


class Small(Network):
    """Two layers."""

    fault: str = ''
    num_classes: int = 3

    @property
    def stages(self):
        return ('stem', 'block_00', 'head')

    @property
    def noiseless(self):
        return self.fault == 'noiseless'

    def make_stage(self, name):
        return partial(Layer, '' if name == 'stem' else self.fault, name == 'head')

    def example_input(self, batch_size=1):
        return jnp.zeros((batch_size, 4))


def subject(fault=''):
    network, x = Small(fault), np.random.default_rng(0).normal(size=(EXAMPLES, 4))
    variables = moved(network.init(jax.random.key(0), network.example_input()))
    prepared = types.SimpleNamespace(opened=None, network=network, variables=variables)
    return Subject(prepared, x.astype(np.float32), variables)  # pyrefly: ignore


FAULTS = {
    'dropout': ('modes_are_honoured', 'outputs depend on the random key in evaluation'),
    'noiseless': ('modes_are_honoured', 'says noiseless'),
    'statistics': ('modes_are_honoured', 'the statistics of block_00 move with .*=False'),
    'unused': ('gradients_reach_every_leaf', 'block_00/table: the gradient is 0'),
    'mixing': ('examples_are_independent', 'half a batch and a whole differ by'),
    'bare': ('outputs_have_their_shapes', "expected a dict with 'hidden'"),
    'flat': ('outputs_have_their_shapes', 'the first axis is not that of the 4 examples'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_each_fault_is_found_by_name(fault):
    name, said = FAULTS[fault]
    found = result(getattr(stage_checks, name), subject(fault))
    assert found.wrong and re.search(said, found.wrong), found.wrong
    assert str(found).startswith('FAILED')


def test_nothing_is_found_where_all_is_well():
    whole = subject()
    found = [result(check, whole) for check in stage_checks.STAGE_CHECKS]
    assert [check.name for check in found if check.wrong] == []
    assert all(str(check).startswith('ok ') for check in found)


@pytest.fixture
def template(repository, monkeypatch):
    """configs/own_model.py, run; what it registers is gone afterwards."""
    for kind in ('model', 'family'):
        monkeypatch.setitem(registry.PARTS, kind, dict(registry.parts(kind)))
    monkeypatch.setattr(registry, 'FILES', {})
    file = repository / 'configs' / 'own_model.py'
    spec = importlib.util.spec_from_file_location('own_model_template', file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exported(folder, **config):
    """A checkpoint under the template's foreign names."""
    draw, folder = np.random.default_rng(0), folder / 'theirs'
    shapes = dict.fromkeys(('stem.bias', 'norm.weight', 'norm.bias'), (8,))
    shapes['stem.weight'] = (8, 1, 2, 2)
    block = {
        'depthwise.weight': (8, 1, 3, 3),
        'expand.weight': (32, 8, 1, 1),
        'expand.bias': (32,),
        'reduce.weight': (8, 32, 1, 1),
        'gamma': (1, 8, 1, 1),
    }
    block |= {f'{name}.bias': (8,) for name in ('depthwise', 'norm', 'reduce')}
    shapes |= {f'blocks.0.{name}': shape for name, shape in (block | {'norm.weight': (8,)}).items()}
    shapes |= {'head.weight': (5, 8), 'head.bias': (5,)}
    folder.mkdir()
    tensors = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, folder / 'model.safetensors')
    config = {'model_type': 'own_net', 'dim': 8, 'layers': 1, 'num_classes': 5, **config}
    (folder / 'config.json').write_text(json.dumps(config))
    return folder, tensors


def test_the_template_opens_a_checkpoint_by_its_key_map(template, tmp_path):
    folder, tensors = exported(tmp_path)
    opened = load_pretrained(str(folder))
    block = opened.variables['params']['block_00']
    expand = tensors['blocks.0.expand.weight'][..., 0, 0]
    np.testing.assert_array_equal(block['fc1']['kernel'], expand.T)
    np.testing.assert_array_equal(block['scale'], tensors['blocks.0.gamma'].reshape(-1))
    assert opened.network.width == 8 and opened.report.head == 'kept'
    assert opened.preprocessing.mean == (0.5,)
    assert 'head' not in load_pretrained(str(folder), num_classes=0).network.stages
    outputs = opened.network.apply(opened.variables, np.ones((2, 8, 8, 1), np.float32))
    hidden = opened.network.apply(opened.variables, np.ones((2, 8, 8, 1), np.float32), stop='pool')
    given = {'inputs': np.ones((2, 8, 8, 1), np.float32), 'block_00': hidden['hidden']}
    prepared = types.SimpleNamespace(config=read_config({'init': str(folder)}))
    held = Subject(prepared, None, {})  # pyrefly: ignore
    nothing = 'outputs: what they are compared with is not finite'
    for offset, expected in ((0, 'outputs within'), (0.1, 'differ by'), (np.nan, nothing)):
        np.savez(tmp_path / 'reference.npz', outputs=outputs + offset, **given)
        found = result(partial(reference_outputs, tmp_path / 'reference.npz'), held)
        assert expected in str(found) and bool(found.wrong) == bool(offset)


def test_a_key_of_config_json_that_nobody_reads_is_refused(template, tmp_path):
    folder, _ = exported(tmp_path, wdith=8)
    with pytest.raises(UserError, match=r"nobody reads 'wdith'; did you mean 'width'.*fields="):
        load_pretrained(str(folder))


@pytest.mark.parametrize('make', [dense_1x1, per_channel])
def test_layouts_of_one_pixel_come_back_bit_for_bit(make):
    (rule, *_) = make('theirs', 'ours')
    shape = (1, 6, 1, 1) if make is per_channel else (6, 4, 1, 1)
    tensor = np.random.default_rng(0).normal(size=shape)
    (leaf,) = rule.forward(tensor)
    assert leaf.shape == ((6,) if make is per_channel else (4, 6))
    np.testing.assert_array_equal(rule.inverse([leaf]), tensor)


def test_two_maps_may_be_given_as_rules_alone(monkeypatch):
    monkeypatch.setitem(registry.PARTS, 'family', dict(registry.parts('family')))
    made = own_family('mlp', dense_1x1('a', 'b'), dense_1x1('c', 'd'), fields={'hidden': None})
    assert [each.family for each in made.key_map({})] == ['mlp (1)', 'mlp (2)']
    assert registry.PARTS['family']['mlp'].file == __file__


@pytest.mark.slow
def test_the_template_passes_all_checks(template):
    found = list(check_model(prepare(read_config(template.get_config()))))
    assert len(found) == 9 and [str(check) for check in found if check.wrong] == []


@pytest.mark.slow
@pytest.mark.parametrize('name', ['own_model.py', 'own_nnx.py'])
def test_the_script_ends_well_or_with_the_number_of_failures(name, repository, tmp_path):
    script = repository / 'scripts' / 'check_model.py'
    flags = ['--config.data.source=digits', '--config.data.batch_size=8']
    words = [f'--config={repository}/tests/extending/{name}', *flags]
    done = subprocess.run(
        [sys.executable, script, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={**os.environ, 'PYTHONPATH': str(repository), 'FTJAX_CACHE': str(tmp_path)},
    )
    assert done.stdout.rstrip().endswith('all hold'), done.stdout + done.stderr
    assert done.returncode == 0
