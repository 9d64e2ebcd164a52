"""Metrics of splits in a process of its own, alone or with others; prints JSON.

python shared_cases.py [COORDINATOR COUNT INDEX]
"""

import json
import sys

import jax
import numpy as np

from ftjax.data import Dataset, eval_batches
from ftjax.data.masks.mask import MaskPixels, masks
from ftjax.data.streams.loader import Loader
from ftjax.distributed import initialize
from ftjax.distributed.sharding import Sharding
from ftjax.evaluation.own_answers import answers
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.initialise import random_variables
from ftjax.tasks import task_of

COUNT, SIZE = 21, 16  # of eight devices five have an example of the last batch
RNG = np.random.default_rng(0)
IMAGES = RNG.random((COUNT, 8, 8, 3)).astype(np.float32)
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


def main():
    given = sys.argv[1:]
    if given:
        assert initialize.start(given[0], int(given[1]), int(given[2]))
    read, seen, batch = {}, [], Loader.batch

    def noted(self, indices, *rest, **more):
        seen.extend(np.asarray(indices).tolist())
        return batch(self, indices, *rest, **more)

    Loader.batch = noted
    found = {}
    for name, (network, data) in cases().items():
        seen.clear()
        preprocessing = Preprocessing(image_size=(8, 8))
        batches = eval_batches(data, SIZE, (8, 8), preprocessing)
        variables = random_variables(network, 0)
        # Each has its own pairs, which are used up.
        pairs = [
            answers(network, variables, batches, preprocessing, sharding=Sharding())
            for _ in range(2)
        ]
        found[name] = {
            'measured': task_of(name).measure(pairs[0], data.class_names),
            'validated': task_of(name).validate(pairs[1], class_names=data.class_names),
        }
        read[name] = len(set(seen))
    print(json.dumps({'devices': jax.device_count(), 'found': found, 'read': read}))


if __name__ == '__main__':
    main()
