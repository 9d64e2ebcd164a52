"""ONNX files: equal to the bundle in onnxruntime, for any batch; a missing environment is said."""

import importlib.util
import json
import os
import pathlib

import pytest
import tiny_tasks

from ftjax.errors import UserError
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.making.onnx_folder import VARIABLE, write_onnx

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / 'scripts'
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
