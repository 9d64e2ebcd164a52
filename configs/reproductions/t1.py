"""T1: surgical fine-tuning on CIFAR-10-C: which block should learn under which shift.

    FTJAX_DATA=FOLDER bash scripts/reproduce.sh T1

Two hours of one busy core. Published: Lee et al. 2022 (arXiv:2210.11466); a replication on 19
corruptions with 1,000 images: all 78.2, block1 77.0, block2 72.2, block3 70.7, head 61.3.
Measured under noise (five seeds, every best rate inside): block1 69.1, all 67.6, block2 65.2,
block3 65.2, head 61.6; with flipped labels head 89.5, all 41.6, block1 15.3. Whether block2 is
above block3 under noise stays undecided; the other gates pass. Results: results/reproductions/t1.
"""

from ml_collections import ConfigDict

from ftjax.config import template
from ftjax.pretrained.families.vision.resnet_cifar import CIFAR10

FLIP = 'label flip'
# The network has 12 blocks and a stem: with one opened an epoch, all are open at 13 of 15.
OPENING = 1.0
REDUCED = (
    'Reduced: 200 images to train (20 a class, others with each seed), 200 to choose rate and '
    'epoch, 1,000 to test (the same for all), of the 10,000 that the network has not seen; the '
    'replication trains on 1,000 and tests on the rest.',
    'Reduced: 4 of 19 corruptions (gaussian and impulse noise, gaussian blur, contrast, with the '
    'constants of severity 5 of CIFAR-10-C), made here from the clean images and not read from '
    'the published files.',
    'Reduced: 15 epochs of batches of 20, validated every third one. '
    '5 seeds; 3 rates an arm, tried with the first one, and up to 3 more for all arms of a task '
    'while the best of any is the highest or lowest. '
    'Rates were lowered once, by validation on the first task: all, the blocks and auto_rgn had '
    'started three times higher there, and the lowest of their rates won.',
    'block1 has the stem and the first four blocks, block2 and block3 four each; no head trains '
    'with them. gradual opens a block each epoch from the top, gradual_first from the '
    'input; head and last norm are open from the start.',
    'Under `label flip` images are clean and class k is called 9 - k.',
)


def get_config():
    config = template(
        init='data:resnet26_gn_cifar10',
        data={
            'source': 'npz:$FTJAX_DATA/cifar10/cifar10_test10k.npz',
            'class_names': CIFAR10,
            'examples_per_class': 20,
            'val_per_class': 20,
            'test_per_class': 100,
            'test_seed': 0,
            'batch_size': 20,
            'eval_batch_size': 100,
        },
        optimizer={'name': 'adam', 'weight_decay': 1e-4},
        train={'epochs': 15.0, 'eval_every': 3.0},
    )
    config.ablation = ConfigDict(
        {
            'question': 'Which block should learn, when noise or the labels have changed?',
            'arms': {
                'none': {'baseline': 'pretrained'},
                'all': {'freeze': 'full', 'rates': (1e-4, 3e-4, 1e-3)},
                'block1': 'block:1',
                'block2': {'freeze': 'block:2', 'rates': (1e-3, 3e-3, 1e-2)},
                'block3': {'freeze': 'block:3', 'rates': (1e-4, 3e-4, 1e-3)},
                'head': {'freeze': 'head', 'rates': (1e-2, 3e-2, 1e-1)},
                'auto_rgn': 'auto_rgn',
                'gradual': f'gradual:{OPENING}',
                'gradual_first': f'gradual_first:{OPENING}',
            },
            'rates': (3e-4, 1e-3, 3e-3),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 1,
            'tasks': {
                'gaussian noise': {'data.corruption': 'gaussian_noise:0.10'},
                FLIP: {'data.corruption': 'label_flip'},
                'gaussian blur': {'data.corruption': 'gaussian_blur:1'},
                'contrast': {'data.corruption': 'contrast:0.15'},
                'impulse noise': {'data.corruption': 'impulse_noise:0.07'},
            },
            'reference': 'all',
            'max_extra': 3,
            'notes': REDUCED,
            'groups': {
                'noise': ('gaussian noise', 'impulse noise'),
                'blur and contrast': ('gaussian blur', 'contrast'),
                FLIP: (FLIP,),
            },
            'group_gates': {
                'noise': (
                    ('above', 'block1', 'block2'),
                    ('above', 'block2', 'block3'),
                    ('above', 'block3', 'head'),
                    ('difference', 'block1', 'all'),
                    ('difference', 'auto_rgn', 'all'),
                    ('difference', 'gradual_first', 'gradual'),
                ),
                'blur and contrast': (('difference', 'block1', 'all'),),
                FLIP: (
                    ('above', 'head', 'all'),
                    ('above', 'all', 'block1'),
                    ('difference', 'auto_rgn', 'all'),
                    ('difference', 'gradual_first', 'gradual'),
                ),
            },
        },
        convert_dict=False,
    )
    return config
