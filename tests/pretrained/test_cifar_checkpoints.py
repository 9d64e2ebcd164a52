"""The two real CIFAR-10 networks give their published accuracy, to the digit."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ftjax.export.source_names import to_source
from ftjax.pretrained.families.vision.resnet_cifar import BATCH_NORM, GROUP_NORM
from ftjax.pretrained.inspection import inspect
from ftjax.pretrained.locate.locate import data_folder
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.readers import open_source

SCRIPT = pathlib.Path(__file__).parents[2] / 'scripts' / 'inspect_checkpoint.py'
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not (data_folder() / 'cifar10' / 'cifar10_test10k.npz').exists(),
        reason='needs the data folder (FTJAX_DATA)',
    ),
]


@pytest.mark.parametrize(
    'name, correct', [('resnet26_gn_cifar10', 9083), ('resnet20_cifar10', 9173)]
)
def test_accuracy_on_all_test_images(name, correct):
    found = load_pretrained(f'data:{name}')
    assert found.report.head == 'kept'
    assert not found.report.initialised
    assert not found.report.skipped
    assert found.class_names[3] == 'cat'
    mean, std = (
        jnp.asarray(v, jnp.float32) for v in (found.preprocessing.mean, found.preprocessing.std)
    )

    @jax.jit
    def predict(variables, images):
        images = (images.astype(jnp.float32) * found.preprocessing.scale - mean) / std
        return found.network.apply(variables, images).argmax(-1)

    data = np.load(data_folder() / 'cifar10' / 'cifar10_test10k.npz')
    images, labels = data['x'], data['y']
    guesses = [
        np.asarray(predict(found.variables, images[i : i + 500])) for i in range(0, 10_000, 500)
    ]
    assert int((np.concatenate(guesses) == labels).sum()) == correct


@pytest.mark.parametrize(
    'name, keymap, prefix',
    [('resnet26_gn_cifar10', GROUP_NORM, ''), ('resnet20_cifar10', BATCH_NORM, 'module.')],
)
def test_round_trip_to_the_source_is_bitwise(name, keymap, prefix):
    found = load_pretrained(f'data:{name}')
    source = open_source(data_folder() / name)
    back = to_source(found.variables, keymap, prefix=prefix)
    assert set(back) == set(source.names)
    for tensor, (_, _, get) in back.items():
        assert get().tobytes() == source.read(tensor).tobytes()


def test_inspection_reads_no_tensor(monkeypatch):
    from ftjax.pretrained.readers.safetensors_file import SafetensorsSource

    monkeypatch.setattr(SafetensorsSource, 'read', None)
    found = inspect('data:resnet20_cifar10')
    assert sum(found.parameters.values()) == 269_722
    assert found.parameters['head'] == 650
    assert found.statistics == 2 * 688
    assert found.preprocessing.std == (0.229, 0.224, 0.225)
    assert 'stage3_block2' in found.table()
    json.dumps(found.report.to_json())


def test_inspection_script():
    def run(*arguments):
        return subprocess.run(
            [sys.executable, str(SCRIPT), *arguments],
            capture_output=True,
            text=True,
        )

    done = run('data:resnet26_gn_cifar10')
    assert done.returncode == 0, done.stderr
    assert 'head kept' in done.stdout
    assert 'stage2_block3' in done.stdout
    wrong = run('data:resnet26_gn_cifar1')
    assert wrong.returncode == 2
    assert "'resnet26_gn_cifar10'" in wrong.stderr
    assert 'Traceback' not in wrong.stderr
