r"""Under noise, what should learn in a network of images, and what is lost on clean ones?

    FTJAX_DATA=FOLDER python scripts/ablate.py --config=configs/ablations/frontier_images.py \
        --workdir=runs/frontier_images

FOLDER is the data folder. The task is `gaussian noise` of
configs/reproductions/t1.py; retention is the accuracy on the same test images without noise.
Measured, under noise / clean: pretrained 51.2 / 90.8, full 71.1 / 86.8, the first block alone
72.7 / 85.7 and averaged with its start 72.9 / 86.2 (the one arm above full), head 65.0 / 85.1.
Every arm loses 3 to 11 points on clean images. Results: results/frontier_images. About 100 minutes
of one busy core, and it goes on where it was stopped.
"""

from ml_collections import ConfigDict

from configs.reproductions.t1 import get_config as t1

LOW, MIDDLE, HIGH = (1e-4, 3e-4, 1e-3), (1e-3, 3e-3, 1e-2), (3e-3, 1e-2, 3e-2)
ARMS = {
    'full': {'freeze': 'full', 'rates': LOW},
    'head': {'freeze': 'head', 'rates': (1e-2, 3e-2, 1e-1)},
    'last:2': {'freeze': 'last:2', 'rates': LOW},
    'last:6': {'freeze': 'last:6', 'rates': LOW},
    'first:2': {'freeze': 'first:2', 'rates': MIDDLE},
    'block:1': {'freeze': 'block:1', 'rates': (3e-4, 1e-3, 3e-3)},
    'blocks:20%-80%': {'freeze': 'blocks:20%-80%', 'rates': (3e-4, 1e-3, 3e-3)},
    'bitfit': {'freeze': 'bitfit', 'rates': HIGH},
    'norm': {'freeze': 'norm', 'rates': HIGH},
    'ssf': {'freeze': 'ssf', 'rates': HIGH},
    'adapter:8': {'freeze': 'adapter:8', 'rates': MIDDLE},
    'adapter_plus:8': {'freeze': 'adapter_plus:8', 'rates': MIDDLE},
    'l2_sp': {'freeze': 'full+l2_sp:0.1', 'rates': LOW},
    'mixout': {'freeze': 'full+mixout:0.7', 'rates': LOW},
    'ema': {'freeze': 'full+ema:0.99', 'rates': LOW},
    'wise_ft': {'freeze': 'full+wise_ft', 'rates': LOW},
    'block:1, wise_ft': {'freeze': 'block:1+wise_ft', 'rates': (3e-4, 1e-3, 3e-3)},
    'pretrained': {'baseline': 'pretrained'},
}
CLAIMS = (
    ('difference', 'blocks:20%-80%', 'adapter:8'),
    ('difference', 'blocks:20%-80%', 'full'),
)
# What is lost beside full: the table tells it beside the network before training.
AGAINST_FULL = tuple(
    ('difference', arm, 'full')
    for arm in ('head', 'bitfit', 'l2_sp', 'wise_ft', 'block:1', 'block:1, wise_ft')
)
REDUCED = (
    'Reduced: 200 images to train (20 a class, others with each seed), 200 to choose the rate, '
    '1,000 to test (the same for all), of 10,000 that the network has not seen; 15 epochs of '
    'batches of 20; one shift, Gaussian noise of standard deviation .10.',
    'Reduced: 3 rates an arm, tried with the first two of five seeds, and up to 2 more for all '
    'arms while the best of any is the highest or lowest.',
    'A step is priced as it runs: where the lower part is frozen and its outputs are stored (head, '
    'last:k), without that part, which runs once for all epochs. Times were taken beside other '
    'work and tell little; FLOPs do not depend on it.',
    'The network is of convolutions: LoRA, mlp_in and attention_proj have nothing to act on.',
    'wise_ft chooses its share of the trained weights by validation under noise alone.',
    'Clean images are those of the test split: what is kept there is not what is kept of others.',
)


def get_config():
    config = t1()
    config.data.corruption = 'gaussian_noise:0.10'
    config.ablation = ConfigDict(
        {
            'question': 'Under noise, what should learn, and what is lost on clean images?',
            'arms': ARMS,
            'rates': LOW,
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 2,
            'reference': 'full',
            'also_evaluate': {'clean': {'corruption': 'none'}},
            'retention': 'clean',
            # A claim, told whichever way it falls: the middle of a network against adapters
            # (arXiv:2604.11838; LoRA has nothing to act on here).
            'gates': CLAIMS,
            'retention_gates': CLAIMS + AGAINST_FULL,
            'max_extra': 2,
            'notes': REDUCED,
        },
        convert_dict=False,
    )
    return config
