"""A large checkpoint loads with hardly more memory than its parameters take."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from ftjax.models.registry import build, options_of
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained import families
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.own_format import CONFIG, FORMAT, WEIGHTS, write_json
from ftjax.pretrained.readers.safetensors_file import write_safetensors

STATUS = pathlib.Path('/proc/self/status')
# Peak resident memory of a process that loads, less its peak when it had only started up. The
# kernel counts VmHWM anew from exec on; ru_maxrss starts at the parent's, the test process's.
MEASURE = """
import json, pathlib, re, sys
import jax, jax.numpy as jnp
from ftjax.pretrained.open import describe
from ftjax.pretrained.locate.locate import locate
from ftjax.pretrained.fit_network import fit_network
from ftjax.pretrained.open import load_pretrained
def peak():
    status = pathlib.Path('/proc/self/status').read_text()
    return 1024 * int(re.search(r'VmHWM:\\s*(\\d+) kB', status)[1])

jax.block_until_ready(jnp.ones(3) + 1)
checkpoint = describe(locate(sys.argv[1]))
fit_network(checkpoint, {})
before = peak()
found = load_pretrained(sys.argv[1])
jax.block_until_ready(found.variables)
after = peak()
held = sum(leaf.nbytes for leaf in jax.tree.leaves(found.variables))
print(json.dumps({'before': before, 'after': after, 'held': held}))
"""


def measured(folder) -> dict:
    done = subprocess.run(
        [sys.executable, '-c', MEASURE, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def make(folder, own):
    """A ViT's checkpoint of random numbers, written without holding it in memory."""
    options = {'image_size': 32, 'patch_size': 8, 'width': 1024, 'heads': 16, 'num_classes': 10}
    network = build('vit', {**options, 'depth': 20})
    name, options = options_of(network)
    random = np.random.default_rng(0)

    def tensor(shape):
        return np.dtype('f4'), shape, lambda: random.standard_normal(shape, np.float32)

    shapes = leaf_shapes(network)
    if own:
        tensors = {key: tensor(leaf.shape) for key, leaf in shapes.items()}
        preprocessing = Preprocessing(image_size=(32, 32)).to_json()
        config = {'format': FORMAT, 'model': name, 'options': options}
        write_json(folder / CONFIG, {**config, 'preprocessing': preprocessing})
    else:
        config = families.module('vit').config_from_network(network, ())
        keymap, tensors = families.key_map('vit', config, ()), {}
        for key, leaf in shapes.items():
            source, match = keymap.source_of(key)
            empty = np.broadcast_to(np.zeros((), bool), leaf.shape)
            tensors[source] = tensor(match.rule.inverse([empty]).shape)
        write_json(folder / CONFIG, config)
    write_safetensors(folder / WEIGHTS, tensors)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason=f'reads {STATUS}')
@pytest.mark.parametrize('own', [True, False], ids=['own', 'transformers'])
def test_a_gigabyte_loads_in_1_3_times_its_size(tmp_path, own):
    found = measured(make(tmp_path, own))
    assert found['held'] > 1e9
    peak = (found['after'] - found['before']) / found['held']
    assert 0.9 <= peak <= 1.3, f'peak is {peak:.2f} times the parameters'
    print(f'peak {peak:.3f} times {found["held"] / 1e9:.2f} GB')
