"""A head and embeddings of a large vocabulary in parts: no device ever holds one of them whole."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from vocabulary_step import BATCH, TIME, VOCABULARY, WIDTH, gradients, spec_of

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_device_holds_less_than_one_table_and_the_gradients_are_those_of_one_device(tmp_path):
    flag = '--xla_force_host_platform_device_count=8'
    done = subprocess.run(
        [
            sys.executable,
            pathlib.Path(__file__).with_name('vocabulary_step.py'),
            tmp_path / 'gradients.npz',
        ],
        env={
            **os.environ,
            'JAX_PLATFORMS': 'cpu',
            'XLA_FLAGS': flag,
            'PYTHONPATH': str(ROOT),
            'JAX_DISABLE_MOST_OPTIMIZATIONS': '0',  # memory is that of programs as they run
        },
        check=True,
        capture_output=True,
        text=True,
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    table = 4 * VOCABULARY * WIDTH
    # Gradients in parts, slices and their logits; two whole tables and two gradients before.
    hidden = 4 * BATCH // 8 * TIME * WIDTH
    assert seen['temporary'] <= 1.1 * (seen['leaves'] / 8 + table + 10 * hidden)
    assert seen['temporary'] < 0.8 * table
    # What is sent at once is a slice or a leaf of the block, never a table.
    assert seen['largest'] <= table / 8
    forward, backward, largest = seen['told']
    assert 0 <= seen['leaves'] - forward < 0.001 * table  # norms lie whole
    assert table <= backward < forward - table / 2 and largest < table / 2
    loss, expected = gradients(spec_of({}, width=16, vocab_size=100))
    assert seen['loss'] == pytest.approx(loss, abs=1e-6)
    with np.load(tmp_path / 'gradients.npz') as found:
        assert set(found) == set(expected)
        for path, slope in expected.items():
            np.testing.assert_allclose(found[path], slope, atol=1e-6, err_msg=path)
