"""The source `cifar10` of the reproductions: classes, labels, and splits that no seed changes."""

import numpy as np
import pytest

from ftjax.data import load_data
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.pretrained.families.vision.resnet_cifar import CIFAR10
from ftjax.reproductions import cifar_classes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files of the same names with 3 + 2 tiny images a class, whose first pixel is the class."""
    (tmp_path / 'cifar10').mkdir()
    for part, count in (('train9k', 3), ('test10k', 2)):
        y = np.arange(10 * count) % 10
        x = np.zeros((len(y), 2, 2, 3), np.uint8) + y[:, None, None, None].astype(np.uint8)
        x[:, 1, 1, 0] = np.arange(len(y))  # no two alike
        names = [f'{part}_{n}' for n in range(len(y))]
        np.savez(tmp_path / 'cifar10' / f'cifar10_{part}.npz', x=x, y=y, names=names)
    monkeypatch.setenv('FTJAX_DATA', str(tmp_path))
    monkeypatch.setattr(cifar_classes, 'VAL_PER_CLASS', 1)


def test_classes_are_in_the_order_asked_for_and_keep_their_images(folder):
    splits = load_data(DataSettings(source='cifar10:dog+bird'))
    for split, count in ((splits.train, 4), (splits.val, 2), (splits.test, 4)):
        assert split.class_names == ('dog', 'bird') and len(split) == count
        for image, label in zip(split.inputs, split.labels, strict=True):
            assert CIFAR10[image[0, 0, 0]] == split.class_names[label]
    assert all(name.startswith('test10k') for name in splits.test.ids)
    assert not {*splits.train.ids} & {*splits.val.ids}


def test_no_seed_changes_what_validates_and_all_classes_are_there_unasked(folder):
    one, other = (load_data(DataSettings(source='cifar10', seed=seed)) for seed in (0, 1))
    assert one.train.class_names == CIFAR10 and len(one.train) == 20 and len(one.val) == 10
    assert one.val.fingerprint == other.val.fingerprint
    assert one.train.fingerprint == other.train.fingerprint


@pytest.mark.parametrize(
    ('asked', 'words'),
    [
        ('cat+dgo', "did you mean 'dog'"),
        ('cat', 'two or more different classes'),
        ('cat+dog+cat', 'two or more different classes'),
    ],
)
def test_classes_that_cannot_be_meant_are_refused(folder, asked, words):
    with pytest.raises(UserError, match=words):
        load_data(DataSettings(source=f'cifar10:{asked}'))
