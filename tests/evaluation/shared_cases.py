"""Metrics of splits in a process of its own, alone or with others; prints JSON.

python shared_cases.py [COORDINATOR COUNT INDEX]
"""

import functools
import hashlib
import json
import pathlib
import sys

import jax
import numpy as np

from ftjax.data import Dataset, DataSettings, eval_batches
from ftjax.data.labels.similar_texts import NONE
from ftjax.data.masks.mask import MaskPixels, masks
from ftjax.data.streams.loader import Loader
from ftjax.distributed import initialize
from ftjax.distributed.sharding import Sharding
from ftjax.evaluation import sliding
from ftjax.evaluation.own_answers import answers
from ftjax.evaluation.split_outputs import split_outputs
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.initialise import random_variables
from ftjax.tasks import task_of
from ftjax.training.feature_cache.compute import compute, passed_on
from ftjax.training.feature_cache.store import Features
from ftjax.training.feature_cache.stored_batches import FeatureBatches

COUNT, SIZE = 21, 16  # of eight devices five have an example of the last batch
RNG = np.random.default_rng(0)
IMAGES = RNG.random((COUNT, 8, 8, 3)).astype(np.float32)
ROOT = pathlib.Path(__file__).resolve().parents[2]
EIGHT = Preprocessing(image_size=(8, 8))
VIT = {'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 1, 'heads': 2}


def images(task, labels, **more):
    return Dataset(name=task, kind='image', inputs=IMAGES, labels=labels, task=task, **more)


def cases():
    """(network, split) by task."""
    classes = RNG.integers(0, 3, COUNT).astype(np.int32)
    several = (RNG.random((COUNT, 3)) < 0.4).astype(np.float32)
    pixels = RNG.integers(0, 3, (COUNT, 8, 8)).astype(np.uint8)
    named = {'class_names': 'abc'}
    three, one = build('vit', {**VIT, 'num_classes': 3}), build('vit', {**VIT, 'num_classes': 1})
    dense = build('vit', {**VIT, 'patch_size': 2, 'num_classes': 3, 'head': 'fpn:8'})
    values = RNG.normal(size=COUNT).astype(np.float32)
    return {
        'classification': (three, images('classification', classes, **named)),
        'multilabel': (three, images('multilabel', several, **named)),
        'regression': (one, images('regression', values)),
        'segmentation': (
            dense,
            images('segmentation', masks([MaskPixels(mask) for mask in pixels]), **named),
        ),
    }


def text_pairs():
    """Preprocessing, network and split of an embedding of pairs."""
    file = ROOT / 'ftjax' / 'pretrained' / 'weights' / 'docstrings' / 'tokenizer.json'
    preprocessing = TextPreprocessing(
        tokenizer=str(file),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        vocab_size=2048,
        max_length=16,
        buckets=(8, 16),
        form='apart',
    )
    sizes = {'width': 8, 'depth': 1, 'heads': 2, 'mlp_dim': 8, 'max_positions': 16}
    network = build('bert', {**sizes, 'vocab_size': 2048, 'head': 'vector', 'num_classes': 0})
    words = ['read', 'write', 'file', 'list', 'text', 'line', 'open', 'value']
    texts = [[' '.join(RNG.choice(words, 2 + n % 8)), f'{words[n % 8]} {n}'] for n in range(COUNT)]
    labels = np.stack([np.arange(COUNT), COUNT + np.arange(COUNT), np.full(COUNT, NONE)], axis=1)
    data = Dataset(
        name='pairs',
        kind='text',
        inputs=texts,
        class_names=(),
        labels=labels.astype(np.int32),
        task='embedding',
    )
    return preprocessing, network, data


def results(task, pairs, class_names=()):
    """Metrics of one of two equal pairs, and what a validation makes of the other."""
    return {
        'measured': task.measure(pairs[0], class_names),
        'validated': task.validate(pairs[1], class_names=class_names),
    }


def of_images(name, network, data):
    """Answers are of raw images."""
    batches = eval_batches(data, SIZE, (8, 8), EIGHT)
    variables = random_variables(network, 0)
    # Each has its own pairs, which are used up.
    pairs = [answers(network, variables, batches, EIGHT, sharding=Sharding()) for _ in range(2)]
    return results(task_of(name), pairs, data.class_names)


def of_texts():
    """Retrieval gathers vectors, and the loss compares those of a whole batch."""
    preprocessing, network, data = text_pairs()
    variables, task = random_variables(network, 0), task_of('embedding')
    batches = eval_batches(data, SIZE, preprocessing=preprocessing)
    pairs = [
        answers(network, variables, batches, preprocessing, compares=compares)
        for compares in (False, True)
    ]
    return results(task, pairs)


def of_stored(network, data):
    """Answers are of features, which are computed together."""
    batches, variables = eval_batches(data, SIZE, (8, 8), EIGHT), random_variables(network, 0)
    loader, arrays = batches.loader, {}
    given = network, variables, 'norm', loader, EIGHT
    for path, shape in passed_on(*given).shapes.items():
        arrays[path] = np.zeros((COUNT, *shape.shape), shape.dtype)
    compute(*given, arrays)
    stored = FeatureBatches(batches, Features('k', arrays))
    pairs = [answers(network, variables, stored, EIGHT, start='norm') for _ in range(2)]
    return results(task_of('classification'), pairs, data.class_names)


def of_windows(network):
    """Each process answers the windows of its own images."""
    pixels = RNG.integers(0, 3, (COUNT, 12, 12)).astype(np.uint8)
    data = Dataset(
        name='windows',
        kind='image',
        task='segmentation',
        class_names='abc',
        inputs=RNG.random((COUNT, 12, 12, 3)).astype(np.float32),
        labels=masks([MaskPixels(mask) for mask in pixels]),
    )
    settings = DataSettings(task='segmentation', sliding=0.5, image_size=(8, 8))
    variables, task = random_variables(network, 0), task_of('segmentation')
    pairs = [
        split_outputs(network, variables, data, settings, EIGHT, SIZE, shared=True)
        for _ in range(2)
    ]
    return results(task, pairs, data.class_names)


def main():
    given = sys.argv[1:]
    if given:
        assert initialize.start(given[0], int(given[1]), int(given[2]))
    read, seen, batch, native = {}, [], Loader.batch, sliding.native

    def noted(self, indices, *rest, **more):
        seen.extend(np.asarray(indices).tolist())
        return batch(self, indices, *rest, **more)

    def noted_image(data, index, *rest):
        seen.append(index)
        return native(data, index, *rest)

    Loader.batch, sliding.native = noted, noted_image
    known = cases()
    todo = {name: functools.partial(of_images, name, *case) for name, case in known.items()}
    todo |= {
        'embedding': of_texts,
        'stored': functools.partial(of_stored, *known['classification']),
        'windows': functools.partial(of_windows, known['segmentation'][0]),
    }
    found = {}
    for name, function in todo.items():
        seen.clear()
        found[name] = function()
        read[name] = len(set(seen))
    print(json.dumps({'devices': jax.device_count(), 'found': found, 'read': read}))


if __name__ == '__main__':
    main()
