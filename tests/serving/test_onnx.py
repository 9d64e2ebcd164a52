"""ONNX files: equal to the bundle in onnxruntime, for any batch; a missing environment is said."""

import importlib.util
import json
import os
import pathlib
import subprocess
import types

import flax.linen as nn
import numpy as np
import pytest
import tiny_tasks

from ftjax.api import finetune
from ftjax.errors import UserError
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.making.onnx_folder import VARIABLE, write_onnx

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / 'scripts'
QUANTISE = SCRIPTS / 'to_onnx' / 'quantise.py'
CONVERTER = SCRIPTS / 'to_onnx' / 'convert_bundle.py'
without = pytest.mark.skipif(
    not os.environ.get(VARIABLE), reason=f'needs {VARIABLE} (scripts/to_onnx/make_environment.sh)'
)


def test_without_the_environment_nothing_is_written(images, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / 'python'))
    with pytest.raises(UserError, match='make_environment'):
        write_onnx(images.run, tmp_path / 'out', CONVERTER)
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
@without
@pytest.mark.parametrize('kind', ['images', 'texts'])
def test_onnxruntime_gives_the_goldens_to_1e_5(kind, request, tmp_path):
    same_in_onnxruntime(request.getfixturevalue(kind).run, tmp_path / 'out')


@pytest.mark.slow
@without
@pytest.mark.parametrize('name', ['tags', 'masks', 'vectors', 'cosine', 'choice', 'order'])
def test_so_do_answers_of_more_than_a_class(name, tmp_path):
    same_in_onnxruntime(getattr(tiny_tasks, name)(tmp_path).run, tmp_path / 'out')


def same_in_onnxruntime(run, output):
    folder = write_onnx(run, output, CONVERTER)
    told = json.loads((folder / 'onnx.json').read_text())
    assert told['models'] and any(row['goldens'] for row in told['models'])
    for row in told['models']:
        assert (folder / row['file']).stat().st_size > 1000
        assert row['goldens'] == 0 or row['off_by'] <= 1e-5
    if importlib.util.find_spec('onnxruntime') is None:
        return  # the converter has compared in its own environment
    import onnxruntime

    goldens, last = read_goldens(folder), told['models'][-1]
    if not last['length']:
        session = onnxruntime.InferenceSession(str(folder / last['file']))
        (found,) = session.run(None, {k: a[:2] for k, a in goldens.inputs.items()})
        assert abs(found - goldens.outputs[:2]).max() <= 1e-5 * abs(goldens.outputs).max()


@pytest.mark.parametrize('side', [6, 7])
def test_the_max_pool_that_is_converted_is_that_of_flax(side, monkeypatch):
    monkeypatch.syspath_prepend(str(CONVERTER.parent))
    from padded_pool import PaddedFirst

    # Below zero: padding by zeros would win.
    inputs = -1 - np.random.default_rng(0).random((2, side, side, 3)).astype(np.float32)
    pool = {'window_shape': (3, 3), 'strides': (2, 2), 'padding': ((1, 1), (1, 1))}
    found = PaddedFirst().max_pool(inputs, **pool)
    np.testing.assert_array_equal(found, nn.max_pool(inputs, **pool))
    assert PaddedFirst().Conv is nn.Conv


@pytest.fixture(scope='module')
def pooled(tmp_path_factory):
    """A run of a ResNet, whose stem pools with padding."""
    folder, random = tmp_path_factory.mktemp('pooled'), np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 32, 32, 3), np.uint8)
    np.savez(folder / 'x.npz', x=pixels, y=random.integers(0, 3, 40))
    model = {'name': 'resnet', 'image_size': 32, 'depths': (1, 1), 'widths': (8, 16)}
    sizes = {'batch_size': 8, 'eval_batch_size': 16}
    run = finetune(
        '', f'npz:{folder / "x.npz"}', model=model, train={'steps': 3}, data_settings=sizes
    )
    run.fit(folder / 'run', progress=False)
    return types.SimpleNamespace(run=folder / 'run')


@pytest.mark.slow
@without
def test_a_padded_max_pool_is_converted(pooled, tmp_path):
    folder = write_onnx(pooled.run, tmp_path / 'out', CONVERTER)
    (row,) = json.loads((folder / 'onnx.json').read_text())['models']
    assert row['goldens'] > 0 and row['off_by'] <= 1e-5


@pytest.mark.slow
@without
def test_int8_is_smaller_and_what_it_changes_is_told(images, tmp_path):
    folder = write_onnx(images.run, tmp_path / 'out', CONVERTER)
    done = subprocess.run(
        [os.environ[VARIABLE], str(QUANTISE), f'--workdir={images.run}', f'--onnx={folder}'],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(SCRIPTS.parent), 'JAX_PLATFORMS': 'cpu'},
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((folder / 'int8.json').read_text())
    evaluated = json.loads((images.run / 'result.json').read_text())['metrics']
    assert told['accuracy'] == pytest.approx(evaluated['accuracy'])
    assert told['test_examples'] == evaluated['n']
    assert told['accuracy'] - told['accuracy_int8'] == pytest.approx(
        (told['lost'] - told['won']) / told['test_examples']
    )
    assert told['lost'] + told['won'] <= told['changed'] <= told['test_examples']
    assert 0 < told['off_by'] < 0.2  # int8 changes something, and not much
    assert 0 <= told['p'] <= 1
    assert (folder / 'model_int8.onnx').stat().st_size == told['bytes_int8']
    assert f'changed: {told["changed"]}' in done.stdout
