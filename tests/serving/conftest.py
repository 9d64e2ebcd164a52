"""Finished runs of three kinds, tiny, and their bundles: made once for all tests of serving."""

import pathlib
import sys
import types

import numpy as np
import pytest

from ftjax.api import finetune
from ftjax.serving.making.write_bundle import write_bundle

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from tiny_vit import VIT

NAMES = ('ant', 'bee', 'cat')


def of_run(folder, run):
    """A run's folder, and that of its bundle."""
    run.fit(folder / 'run', progress=False)
    bundle = write_bundle(folder / 'run', folder / 'bundle', command='python export')
    return types.SimpleNamespace(run=folder / 'run', bundle=bundle)


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    """A ViT on noise, of three classes."""
    folder, random = tmp_path_factory.mktemp('served_images'), np.random.default_rng(0)
    pixels = random.integers(0, 256, (90, 8, 8, 1), np.uint8)
    labels = random.integers(0, 3, 90)
    np.savez(folder / 'x.npz', x=pixels, y=labels, class_names=np.array(NAMES))
    return of_run(
        folder,
        finetune(
            '',
            f'npz:{folder / "x.npz"}',
            model=VIT,
            train={'steps': 3},
            data_settings={'batch_size': 8, 'eval_batch_size': 16},
        ),
    )


@pytest.fixture(scope='session')
def texts(tmp_path_factory):
    """The shipped network of texts, its head on a few of the shipped docstrings."""
    folder = tmp_path_factory.mktemp('served_texts')
    return of_run(
        folder,
        finetune(
            'docstrings',
            'docstrings',
            freeze='head',
            train={'steps': 2},
            data_settings={
                'examples_per_class': 8,
                'val_per_class': 8,
                'test_per_class': 16,
                'batch_size': 8,
                'eval_batch_size': 16,
                'max_length': 32,
            },
        ),
    )
