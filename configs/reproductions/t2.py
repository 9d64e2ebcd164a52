"""T2: how transferable layers are: AnB, BnB and AnB+ between two halves of CIFAR-10.

    FTJAX_DATA=FOLDER bash scripts/reproduce.sh T2

Trains a network on each half, then the arms. Published: Yosinski et al. 2014 (arXiv:1411.1792),
base .625; top-1 by n copied layers, 1 / 3 / 5 / 7: AnB .628 .618 .578 .542, BnB .626 .620 .593
.623, AnB+ .636 .642 .644 .646. Dissimilar halves: T2_DISSIMILAR. Measured, test accuracy (%), base
73.3; n of 1 / 3 / 5: AnB 73.1 69.6 62.9, BnB 72.2 72.1 72.8, AnB+ 73.8 73.9 73.1. AnB falls with
depth, as published; five seeds leave undecided whether AnB+ is above base, and show no dip of BnB.
25 minutes of one busy core. Results: results/reproductions/t2.
"""

from ml_collections import ConfigDict

from ftjax.config import template
from ftjax.reproductions import cifar_classes  # noqa: F401 (it has the source)

# Two of the four machines and three of the six animals each; scripts/reproduce.sh reads these
# lines and trains a network on each.
A = 'airplane+truck+bird+cat+horse'
B = 'ship+automobile+frog+dog+deer'
BASES = 'runs/reproductions/bases'
RATES = {1: (1e-3, 3e-3, 1e-2), 3: (1e-3, 3e-3, 1e-2), 5: (3e-3, 1e-2, 3e-2)}
REDUCED = (
    'Reduced: CIFAR-10 in two halves of 5 classes, each with two machines and three animals, as '
    'large as 16x16 pixels, instead of ImageNet in halves of 500: 4,000 images to train, 500 to '
    'choose the rate, 2,000 to test; 10 epochs of batches of 50 of Adam, no augmentation, the '
    'weights of the last step.',
    'Reduced: 4 convolutions, a dense layer and the head, without norms and dropout, instead of '
    'AlexNet; n copied layers of 1, 3 and 5, of which 5 leaves the head alone to train, instead '
    'of 1 to 7 of 8.',
    'Reduced: one network on A and one on B, each trained once, as `base` is, at the rate .003; '
    '5 seeds decide the order of the batches and all new weights. Intervals do not hold how much '
    'other halves, other images or other networks to start from would change.',
    'All seeds have the same training, validation and test images, so that the network on B has '
    'seen nothing of the last two.',
    'AnB+ has copied layers and new ones at one rate, and all of its training is on top of that '
    'of A; as published it is not compared with a base that was trained as long in all.',
    'The gate on AnB+ is stricter than the published statement, not below base at every n: it '
    'passes where AnB+ is above.',
    'Rates: 3 an arm, tried with the first two seeds, and up to 3 more for all arms while the '
    'best of any is the highest or lowest. Those of B5B were lowered once, by validation.',
)


def get_config():
    config = template(
        init='',
        model={'name': 'plain_convolutions'},
        data={
            'source': f'cifar10:{B}',
            'test_per_class': 400,
            'test_seed': 0,
            'image_size': (16, 16),
            'batch_size': 50,
            'eval_batch_size': 100,
        },
        optimizer={'name': 'adam', 'learning_rate': 3e-3},
        train={'epochs': 10.0, 'eval_every': 10.0, 'keep': 'last'},
    )
    config.ablation = ConfigDict(
        {
            'question': 'How far up are layers of one half of the classes good for the other?',
            'arms': {
                'base': 'full',
                **{f'A{n}B': arm(A, f'anb:{n}', RATES[n]) for n in RATES},
                **{f'B{n}B': arm(B, f'anb:{n}', RATES[n]) for n in (1, 3)},
                'B5B': arm(B, 'anb:5', (3e-5, 3e-4, 3e-3)),
                **{f'A{n}B+': arm(A, f'anb_plus:{n}', RATES[1]) for n in RATES},
            },
            'rates': RATES[1],
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 2,
            'reference': 'base',
            'max_extra': 3,
            'notes': REDUCED,
            'gates': (
                ('rises', 'A5B', 'A3B', 'A1B'),
                *(('above', f'A{n}B+', 'base') for n in RATES),
                *(('difference', f'A{n}B', f'B{n}B') for n in RATES),
                *(('difference', f'B{n}B', 'base') for n in RATES),
            ),
        },
        convert_dict=False,
    )
    return config


def arm(classes, strategy, rates):
    """Changes of the config: from the network on these classes."""
    return {'init': f'{BASES}/{classes}', 'freeze': strategy, 'rates': rates}
