"""A version as a model of MLflow, for those who keep their models there: a pyfunc of its bundle.

The model is code and the bundle's files, no pickle. Loaded, it verifies the bundle as every other
load does, and answers as `Bundle.predict` does.
"""

from __future__ import annotations

import os
import pathlib
import tempfile

from ftjax.errors import UserError
from ftjax.io.process.provenance import versions
from ftjax.serving.versions.registry import Registry
from ftjax.serving.versions.version_records import Version

CODE = '''"""A bundle of ftjax as a model of MLflow."""

import mlflow


class BundleModel(mlflow.pyfunc.PythonModel):
    """Answers to a list of raw inputs, or to a data frame with a row an input."""

    def load_context(self, context):
        from ftjax import serving

        sha256 = context.model_config['sha256']
        self.bundle = serving.load(context.artifacts['bundle'], sha256=sha256)

    def predict(self, context, model_input, params=None):
        if hasattr(model_input, 'to_dict'):
            rows = model_input.to_dict('records')
            if self.bundle.signature.takes != 'table':
                rows = [value for row in rows for value in row.values()]
            return self.bundle.predict(rows)
        return self.bundle.predict(list(model_input))


mlflow.models.set_model(BundleModel())
'''
_PINNED = ('ftjax', 'jax', 'jaxlib', 'numpy', 'flatbuffers')


def to_mlflow(registry: Registry, version: Version) -> str:
    """Registers a version in MLflow, at $MLFLOW_TRACKING_URI; the URI of the model there.

    Metrics and the config of the run are logged beside it.

    Raises:
      UserError: MLflow is not installed, the version is damaged, or MLflow refuses.
    """
    try:
        import mlflow
        from mlflow import pyfunc
    except ImportError as error:
        raise UserError(
            f"a model of MLflow needs the package {error.name}: pip install 'ftjax[mlflow]'"
        ) from None
    bundle = registry.open(version)
    found = version.run.get('metrics', {})
    metrics = {name: value for name, value in found.items() if isinstance(value, float)}
    with tempfile.TemporaryDirectory() as folder:
        code = pathlib.Path(folder) / 'bundle_model.py'
        code.write_text(CODE, encoding='utf-8')
        try:
            with mlflow.start_run(run_name=str(version)):
                mlflow.set_tags(
                    {'ftjax.version': str(version), 'ftjax.sha256': version.sha256}
                    | ({'ftjax.note': version.note} if version.note else {})
                )
                mlflow.log_metrics(metrics)
                mlflow.log_dict(dict(version.run.get('config', {})), 'config.json')
                made = pyfunc.log_model(
                    name='model',
                    python_model=os.fspath(code),
                    artifacts={'bundle': os.fspath(bundle)},
                    model_config={'sha256': version.sha256},
                    pip_requirements=_requirements(),
                    registered_model_name=version.name,
                )
        except (mlflow.exceptions.MlflowException, OSError) as error:
            reason = ' '.join(str(error).split())[:300]
            raise UserError(f'MLflow did not take {version}: {reason}') from error
    return str(made.model_uri)


def _requirements() -> list[str]:
    known = versions()
    return [f'{name}=={known[name]}' if name in known else name for name in _PINNED]
