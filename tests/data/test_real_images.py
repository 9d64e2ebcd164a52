"""Real photographs and CIFAR-10, where the data folder is there."""

import itertools
import os
import pathlib

import numpy as np
import pytest

from ftjax.data import DataSettings, TrainStream, eval_batches, load_data

ROOT = pathlib.Path(
    os.environ.get('FTJAX_DATA') or pathlib.Path(__file__).parents[3] / 'shared' / 'data'
)


@pytest.mark.data
@pytest.mark.skipif(not (ROOT / 'hymenoptera').is_dir(), reason='no FTJAX_DATA/hymenoptera')
def test_ants_and_bees():
    splits = load_data(DataSettings(source='folder:$FTJAX_DATA/hymenoptera'))
    assert splits.class_names == ('ants', 'bees')
    assert len(splits.train) + len(splits.test) == 243
    assert (len(splits.val), len(splits.test)) == (153, round(0.2 * 243))
    stream = TrainStream(splits.train, 16, 0, (96, 96))
    for batch in itertools.islice(stream.iterate(0), 3):
        assert batch['inputs'].shape == (16, 96, 96, 3)
        assert (batch['inputs'].std((1, 2, 3)) > 5).all()  # no flat picture
        np.testing.assert_array_equal(batch['labels'], splits.train.labels[batch['index']])


@pytest.mark.data
@pytest.mark.skipif(not (ROOT / 'cifar10').is_dir(), reason='no FTJAX_DATA/cifar10')
def test_cifar_10_by_its_file_names():
    names = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship')
    names = (*names, 'truck')
    splits = load_data(
        DataSettings(
            source='npz:$FTJAX_DATA/cifar10/cifar10_test10k.npz',
            class_names=names,
            examples_per_class=100,
            val_per_class=50,
        )
    )
    assert (len(splits.train), len(splits.val), len(splits.test)) == (1000, 500, 2000)
    assert np.bincount(splits.test.labels).tolist() == [200] * 10
    ships = splits.test.ids[splits.test.labels == names.index('ship')]
    assert sum('ship' in i or 'boat' in i or 'vessel' in i for i in ships) > 100
    total = sum(float(batch['mask'].sum()) for batch in eval_batches(splits.test, 256))
    assert total == 2000
