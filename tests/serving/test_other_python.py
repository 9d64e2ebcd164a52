"""A bundle of this Python and JAX, loaded by another interpreter with a newer one."""

import json
import os
import pathlib
import subprocess

import jax
import numpy as np
import pytest

from ftjax.serving.bundle.goldens import read_goldens

ROOT = pathlib.Path(__file__).resolve().parents[2]
OTHER = os.environ.get('FTJAX_OTHER_PYTHON')
CODE = """
import json, sys, jax, numpy as np
from ftjax import serving
from ftjax.serving.bundle.goldens import read_goldens

bundle = serving.load(sys.argv[1])
found = bundle.run(read_goldens(bundle.folder).inputs).outputs
print(json.dumps([jax.__version__, found.tolist()]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not OTHER, reason='needs FTJAX_OTHER_PYTHON, an interpreter with another jax')
def test_another_version_of_jax_gives_the_goldens(images):
    done = subprocess.run(
        [str(OTHER), '-c', CODE, str(images.bundle)],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    version, outputs = json.loads(done.stdout)
    assert version != jax.__version__
    expected = read_goldens(images.bundle).outputs
    np.testing.assert_allclose(outputs, expected, atol=1e-5 * abs(expected).max())
