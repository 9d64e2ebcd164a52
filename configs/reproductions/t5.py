"""T5: WiSE-FT and model soups on the runs of T3: CIFAR-10 with a BatchNorm network.

    FTJAX_DATA=FOLDER bash scripts/reproduce.sh T5

About an hour of one busy core. Published (72 fine-tuned CLIP models, ImageNet and five shifted
test sets; accuracy in / out of distribution): best single 80.39 / 47.97, uniform soup 79.97 /
51.58, greedy soup 81.03 / 50.86. Measured (five seeds): start 91.9 / 30.9, best member 91.8 / 30.9,
uniform 91.5 / 30.6, greedy 91.6 / 31.1: no average differs from the best member significantly out
of distribution, see the notes. The same on scattered digits, without a data folder: T5_DIGITS.
Results: results/reproductions/t5.
"""

from ml_collections import ConfigDict

from configs.reproductions.t3 import get_config as t3
from ftjax.reproductions.soups import BEST, soup_arms

REDUCED = (
    'Data, split, shifts, steps, optimizer and seeds are those of T3; see its notes. The start is '
    'its LP at the rate that T3 chose; members are its FT with norms frozen, from that start in '
    'place of a new head (heads that start apart cannot be averaged).',
    'Reduced: 9 members a soup instead of 72: 3 rates with 3 orders of the batches each; '
    'published members also differ in decay, epochs, augmentation and smoothing. 5 seeds.',
    'The network was trained on this very task: fine-tuning gains nothing over the start, in '
    'distribution or under shifts, and an average of members has nothing to add up. `uniform above '
    'the best member` was a gate here and stayed undecided; since a network that has seen the '
    'training distribution is no test of it, it is told as a report, and gated where members gain: '
    'it passes on digits (T5_DIGITS), and is undecided on blurred images (T5_BLURRED).',
    'Out of distribution: the same test images under gaussian noise and gaussian blur; `mean of '
    'shifts` is the mean of both accuracies. Nothing was chosen on them.',
    'The best member has the highest validation accuracy in distribution; so are members '
    'sorted and taken by the greedy soup. WiSE-FT interpolates from the start to that member. '
    'The row `members` holds the mean over the 9. All rows of a seed share the time of its '
    'runs equally.',
)


def get_config():
    config = t3()
    shifts = dict(config.ablation['also_evaluate'])
    with config.ignore_type():
        config.freeze = ConfigDict({'strategy': 'full', 'norm': 'frozen'})
    config.ablation = ConfigDict(
        {
            'question': 'Do averages of the runs of T3 do better under shifts than any one run?',
            'arms': soup_arms(
                start={'freeze': 'head', 'optimizer.learning_rate': 1e-2},
                rates=(1e-3, 3e-3, 1e-2),
                orders=3,
            ),
            'seeds': (0, 1, 2, 3, 4),
            'also_evaluate': shifts,
            'reference': BEST,
            'reports': ('uniform above the best member, out of distribution',),
            'notes': REDUCED,
        },
        convert_dict=False,
    )
    return config
