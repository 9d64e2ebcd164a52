"""What tests of the training loop share: images of three classes, and tiny networks for them."""

import jax
import numpy as np

from ftjax.data import Dataset, Splits
from ftjax.data.masks.mask import MaskPixels, masks
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing

VIT = build(
    'vit',
    {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2, 'num_classes': 3},
)
RESNET = build('resnet_bn_cifar', {'depth': 8, 'width': 4, 'image_size': 8, 'num_classes': 3})
EIGHT = Preprocessing(image_size=(8, 8))


def initial(net):
    """Variables as a network draws them."""
    return jax.jit(net.init)(jax.random.key(0), net.example_input())


def noise(name, count):
    """Images between 0 and 1 that say nothing about their class."""
    draw = np.random.default_rng(len(name))
    return of_classes(name, draw.random((count, 8, 8, 3), np.float32))


def shades(name, count):
    """Images of 8 bits that are brighter from class to class."""
    draw = np.random.default_rng(len(name))
    dark = draw.integers(0, 60, (count, 8, 8, 3))
    return of_classes(name, (dark + 60 * classes(count)[:, None, None, None]).astype(np.uint8))


def blocks(name, count):
    """Images with masks of three classes; how many pixels are counted differs."""
    draw = np.random.default_rng(len(name))
    labels = draw.integers(0, 3, (count, 4, 4)).repeat(2, axis=1).repeat(2, axis=2).astype(np.uint8)
    images = draw.integers(0, 60, (count, 8, 8, 3)) + 60 * labels[..., None]
    labels[draw.random(labels.shape) < 0.5 * draw.random((count, 1, 1))] = 255
    return Dataset(
        name=name,
        kind='image',
        inputs=images.astype(np.uint8),
        labels=masks([MaskPixels(each) for each in labels]),
        class_names=('a', 'b', 'c'),
        task='segmentation',
    )


def of_classes(name, images):
    """A data set of images, of three classes in turn."""
    return Dataset(
        name=name,
        kind='image',
        inputs=images,
        labels=classes(len(images)),
        class_names=('a', 'b', 'c'),
    )


def classes(count):
    return np.arange(count) % 3


def splits(make, train, val, test):
    """Splits of so many images each, made by `noise` or `shades`."""
    return Splits(train=make('train', train), val=make('val', val), test=make('test', test))
