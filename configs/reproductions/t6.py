"""T6: what BatchNorm alone learns in a network of random weights.

    FTJAX_DATA=FOLDER bash scripts/reproduce.sh T6

Published: Frankle et al. 2021 (arXiv:2003.00152), CIFAR-10 with BatchNorm alone: ResNet-14 48 %,
ResNet-110 69.5 %, above as many random other parameters, and these above the output layer alone.
Measured, test accuracy (%), depth 8 / 14 / 20: BN 32.7 32.8 31.1, random 31.8 30.1, output 28.0
25.3 22.1 (five seeds): both are above the output layer alone; BN is above random entries at depth
14, which stays undecided at depth 8, and does not rise with depth at this size. 20 minutes of one
busy core. Results: results/reproductions/t6.
"""

from ml_collections import ConfigDict

from ftjax.config import template
from ftjax.reproductions import cifar_classes  # noqa: F401 (it has the source)

# Depth to the share of the trunk's parameters that are those of its norms.
NORMS = {8: 480 / 74_640, 14: 928 / 171_856, 20: 1_376 / 269_072}
REDUCED = (
    'Reduced: ResNet-8, 14 and 20 on 16x16 pixels, 1,000 images to train (100 a class, others '
    'with each seed), 1,000 to choose the rate and 2,000 to test (the same for all), 12 epochs '
    'of batches of 25 of Adam, no augmentation; published are 50,000 images of 32x32, 160 epochs '
    'of SGD and depths to 866. Accuracies are far below the published ones: 480 steps are few for '
    'norms that have to find features among random ones, and more so in a deeper network. The gate '
    'on depth is kept as published; at this size it says nothing of networks that are trained to '
    'the end.',
    'The head trains in every arm: a new one begins with weights so small (sd .01) that frozen '
    'it would stand in the way. Published is BatchNorm alone without the output layer, and with '
    'it a little higher.',
    'Norms start from scale 1 and shift 0, other weights from the normal values of their layer; '
    'published scales start uniform in 0 to 1.',
    '`random`: as many entries as norms have, drawn from all of the trunk, others with each seed '
    '(about 1 in 150 of them is one of a norm); published are entries a channel. Not run at '
    'depth 20.',
    '`output`: the statistics of the random network are estimated once on the training images '
    'and then frozen; under the others every batch is normalised by itself and running '
    'statistics are kept for the test.',
    'Reduced: 5 seeds; 3 rates an arm, tried with the first one, and up to 3 more for all arms '
    'while the best of any is the highest or lowest.',
)


def get_config():
    config = template(
        init='',
        model={'name': 'resnet_bn_cifar', 'image_size': 16},
        data={
            'source': 'cifar10',
            'examples_per_class': 100,
            'test_per_class': 200,
            'test_seed': 0,
            'image_size': (16, 16),
            'batch_size': 25,
            'eval_batch_size': 100,
        },
        optimizer={'name': 'adam'},
        train={'epochs': 12.0, 'eval_every': 12.0, 'keep': 'last'},
    )
    config.ablation = ConfigDict(
        {
            'question': 'What can BatchNorm learn where all other weights stay random?',
            'arms': {
                **{f'BN {depth}': arm(depth, 'norm') for depth in NORMS},
                **{f'random {n}': arm(n, f'random_mask:{NORMS[n]}') for n in (8, 14)},
                **{f'output {depth}': arm(depth, 'head', 'recompute') for depth in NORMS},
            },
            'rates': (3e-3, 1e-2, 3e-2),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 1,
            'reference': 'BN 14',
            'max_extra': 3,
            'notes': REDUCED,
            'gates': (
                ('rises', 'BN 8', 'BN 14', 'BN 20'),
                ('above', 'BN 8', 'random 8'),
                ('above', 'BN 14', 'random 14'),
                ('above', 'random 8', 'output 8'),
                ('above', 'random 14', 'output 14'),
                ('above', 'BN 20', 'output 20'),
                ('difference', 'output 20', 'output 8'),
            ),
        },
        convert_dict=False,
    )
    return config


def arm(depth, strategy, norm='train'):
    """Changes of the config: a depth, what trains, and what its norms do."""
    model = {'name': 'resnet_bn_cifar', 'image_size': 16, 'depth': depth}
    return {'model': model, 'freeze': {'strategy': strategy, 'norm': norm}}
