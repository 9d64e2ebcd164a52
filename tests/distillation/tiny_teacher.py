"""A tiny teacher in a folder, its images and the config of a student.

python tiny_teacher.py FOLDER MESH.json trains a student on as many devices as there are, and
prints the losses of its steps as JSON.
"""

import json
import sys

import jax
import numpy as np

from ftjax.config import read_config
from ftjax.data import Dataset, Splits
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.own_format import save_own
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train

SIZES = {'image_size': 8, 'patch_size': 4, 'width': 8, 'heads': 2}
NAMES = ('a', 'b', 'c')
EIGHT = Preprocessing(image_size=(8, 8))


def images(name, count, task='classification'):
    """Images that are brighter from class to class."""
    draw, classes = np.random.default_rng(len(name)), np.arange(count) % 3
    pixels = draw.integers(0, 60, (count, 8, 8, 3)) + 60 * classes[:, None, None, None]
    labels = np.eye(3)[classes] if task == 'multilabel' else classes
    return Dataset(
        name=name,
        kind='image',
        inputs=pixels.astype(np.uint8),
        labels=labels,
        class_names=NAMES,
        task=task,
    )


def data_of(task='classification'):
    sizes = {'train': 48, 'val': 12, 'test': 12}
    return Splits(**{name: images(name, count, task) for name, count in sizes.items()})


def write_teacher(folder, names=NAMES, depth=2, seed=3, scale=6, preprocessing=EIGHT, **sizes):
    """Weights as drawn, larger than usual so that answers differ."""
    net = build('vit', {**SIZES, 'depth': depth, 'num_classes': len(names), **sizes})
    drawn = jax.jit(net.init)(jax.random.key(seed), net.example_input())
    drawn = jax.tree.map(lambda x: x * scale if x.ndim > 1 else x, drawn)
    save_own(folder, net, drawn, preprocessing, names)
    return folder


def config_of(teacher, loss='distillation', **changes):
    train_section = {'steps': 6, 'eval_every': 1.0, 'report': False, 'keep': 'last'}
    loss = f'{loss}:{teacher}' if teacher else ''
    return read_config(
        {
            'init': '',
            'model': {'name': 'vit', 'depth': 1, **SIZES},
            'freeze': changes.pop('freeze', 'full'),
            'data': {
                'batch_size': 16,
                'eval_batch_size': 12,
                'augment': 'none',
                **changes.pop('data', {}),
            },
            'optimizer': {'learning_rate': 0.02, 'name': 'sgd', **changes.pop('optimizer', {})},
            'train': {**train_section, 'loss': loss, **changes.pop('train', {})},
            **changes,
        }
    )


def fitted(config, folder=None, data=None):
    """The fit of a config, and what its result says."""
    return train(prepare(config, data or data_of()), folder, progress=False)


def losses(config, data=None):
    return [row['train_loss'] for row in fitted(config, data=data)[0].history]


def main():
    teacher, mesh = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(losses(config_of(teacher, mesh=mesh, train={'eval_every': 1 / 3}))))


if __name__ == '__main__':
    main()
