"""Surgical fine-tuning of a real network: CIFAR-10 under Gaussian noise (std .10).

    python scripts/train.py --config=configs/resnet26_cifar10.py --workdir=runs/noise

Needs the data folder (environment variable FTJAX_DATA). 2,000 of the 10,000 test images, which
the network has not seen, train and validate; 7,600 test. Its
ablation section compares `block:1` with `head` through scripts/ablate.py.
"""

from ml_collections import ConfigDict

from ftjax.config import template
from ftjax.pretrained.families.vision.resnet_cifar import CIFAR10


def get_config():
    config = template(
        init='data:resnet26_gn_cifar10',
        data={
            'source': 'npz:$FTJAX_DATA/cifar10/cifar10_test10k.npz',
            'class_names': CIFAR10,
            'corruption': 'gaussian_noise:0.10',
            'test_fraction': 0.76,
            'val_fraction': 0.04,
            'examples_per_class': 200,
            'batch_size': 64,
            'eval_batch_size': 500,
        },
        freeze='block:1',
        optimizer={'name': 'adam', 'learning_rate': 1e-3, 'weight_decay': 1e-4},
        train={'epochs': 3.0, 'steps_per_call': 1},
    )
    config.ablation = ConfigDict(
        {
            'question': 'Under noise at the input, should the first block learn or the head?',
            'arms': {
                'block:1': 'block:1',
                'head': {'freeze': {'strategy': 'head', 'head': 'train'}},
            },
            'rates': (1e-3, 3e-3, 1e-2, 3e-2),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 2,
            'reference': 'head',
            'max_extra': 4,
        },
        convert_dict=False,
    )
    return config
