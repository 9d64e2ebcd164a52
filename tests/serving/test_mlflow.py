"""A version in MLflow: loaded there it is the same bundle, with the same answers."""

import pathlib

import pytest

from ftjax import serving
from ftjax.errors import UserError
from ftjax.serving.bundle.goldens import read_goldens
from ftjax.serving.versions.publishing import publish
from ftjax.serving.versions.registry import Registry

mlflow = pytest.importorskip('mlflow')
pytest.importorskip('pandas')


@pytest.fixture
def registry(images, tmp_path, monkeypatch):
    from ftjax.serving.versions.mlflow_sink import to_mlflow

    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f'sqlite:///{tmp_path}/mlflow.db')
    registry = Registry(tmp_path / 'reg')
    publish(registry, images.bundle, 'noise', note='first')
    return registry, lambda: to_mlflow(registry, registry.resolve('noise@1'))


def test_a_model_of_mlflow_answers_as_the_bundle_and_holds_no_pickle(registry, images, tmp_path):
    versions, sink = registry
    uri = sink()
    model = mlflow.pyfunc.load_model(uri)
    pixels = list(read_goldens(images.bundle).inputs['images'])
    assert model.predict(pixels) == serving.load(images.bundle).predict(pixels)
    (found,) = mlflow.MlflowClient().search_model_versions("name='noise'")
    run = mlflow.get_run(found.run_id)
    version = versions.resolve('noise@1')
    assert run.data.metrics['accuracy'] == version.run['metrics']['accuracy']
    assert run.data.tags['ftjax.sha256'] == version.sha256
    assert not list(tmp_path.rglob('*.pkl'))
    # What was changed there is refused when it is loaded.
    folder = pathlib.Path(mlflow.artifacts.download_artifacts(uri, dst_path=tmp_path / 'copy'))
    weights = next(folder.rglob('model.safetensors'))
    weights.write_bytes(weights.read_bytes()[:-1] + b'x')
    with pytest.raises(UserError, match='is not the file'):
        mlflow.pyfunc.load_model(str(folder))
