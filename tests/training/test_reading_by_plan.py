"""Weights are read after the plan is made, each leaf into the dtype that the plan asks for."""

import pathlib
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file
from tiny_runs import noise, splits

from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.pretrained.readers import safetensors_file
from ftjax.runs.before_training.memory_plan import run_memory
from ftjax.runs.identity import weights_identity
from ftjax.runs.prepare import prepare
from ftjax.runs.run_spec import run_spec
from ftjax.training.step.phase_state import PhaseState

GOLDEN = pathlib.Path(__file__).parents[1] / 'pretrained' / 'goldens' / 'vit' / 'model'
DATA = splits(noise, 12, 3, 3)
HALVES = {'bfloat16': ml_dtypes.bfloat16, 'float16': np.float16}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """The golden ViT in half precision, a folder a dtype."""
    found = {}
    for name, dtype in HALVES.items():
        found[name] = tmp_path_factory.mktemp(name)
        shutil.copytree(GOLDEN, found[name], dirs_exist_ok=True)
        tensors = {
            tensor: (
                np.dtype(dtype),
                array.shape,
                lambda array=array, dtype=dtype: array.astype(dtype),
            )
            for tensor, array in load_file(GOLDEN / 'model.safetensors').items()
        }
        file = found[name] / 'model.safetensors'
        safetensors_file.write_safetensors(file, tensors, {'format': 'pt'})
    return found


def config_of(init, strategy, dtype='bfloat16'):
    return read_config(
        {
            'init': str(init),
            'freeze': {'strategy': strategy, 'frozen_dtype': dtype},
            'data': {'source': 'npz:x.npz', 'image_size': (16, 16), 'batch_size': 4},
            'train': {'steps': 8, 'cache': 'off'},
        }
    )


def params_of(prepared):
    return flatten_dict(dict(prepared.variables['params']), sep='/')


@pytest.mark.parametrize(
    'name, strategy',
    [('bfloat16', 'dora:2'), ('bfloat16', 'gradual'), ('float16', 'head')],
)
def test_leaves_that_only_the_device_rounds_stay_as_in_the_file(folders, name, strategy):
    made = prepare(config_of(folders[name], strategy), DATA)
    plain = prepare(config_of(folders[name], strategy, None), DATA)
    exact, ever = params_of(plain), made.plan.trained
    for path, leaf in params_of(made).items():
        assert str(leaf.dtype) == ('float32' if path in ever else name), path
        np.testing.assert_array_equal(np.asarray(leaf, np.float32), exact[path])
    assert weights_identity(made) == weights_identity(plain)
    state = PhaseState(run_spec(made))
    state.enter(0)
    assert {str(leaf.dtype) for leaf in state.frozen.params.values()} == {'bfloat16'}
    now = flatten_dict(state.current()['params'], sep='/')
    for path, leaf in params_of(made).items():
        np.testing.assert_array_equal(now[path], leaf)


def no_reading(monkeypatch):
    def read(self, name):
        raise AssertionError(f'{name} was read')

    monkeypatch.setattr(safetensors_file.SafetensorsSource, 'read', read)


def test_a_file_in_float32_is_held_so(folders):
    made = prepare(config_of(GOLDEN, 'head'), DATA)
    assert {str(leaf.dtype) for leaf in params_of(made).values()} == {'float32'}


@pytest.mark.parametrize(
    'strategy, message',
    [
        ('lats:1', "'last'"),
        ('last:9', '9 blocks'),
        ('lora:2+rslora:4', 'keep one'),
        ('ia4', "'ia3'"),
    ],
)
def test_a_wrong_strategy_is_found_before_any_weight_is_read(monkeypatch, strategy, message):
    no_reading(monkeypatch)
    with pytest.raises(UserError, match=message):
        prepare(config_of(GOLDEN, strategy), DATA)


def test_a_run_is_priced_from_headers_as_with_its_weights(folders, monkeypatch):
    config = config_of(folders['bfloat16'], 'lora:2')
    whole = prepare(config, DATA)

    no_reading(monkeypatch)
    priced = prepare(config, DATA, weights=False)
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(priced.variables))
    assert (priced.plan, priced.load_report) == (whole.plan, whole.load_report)
    assert run_memory(priced) == run_memory(whole)
