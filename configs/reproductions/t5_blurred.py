"""T5_BLURRED: T5 on the runs of T3_BLURRED, where fine-tuning has something to gain.

    FTJAX_DATA=FOLDER bash scripts/reproduce.sh T5_BLURRED

About 20 minutes on two cores. In T5 the start is the best of all under shifts, and an average of
members can but come back to it; here members gain 17 points in distribution. Measured in / out of
distribution: start 66.0 / 54.7, best member 82.8 / 47.0, uniform 83.1 / 47.6, greedy 83.7 / 47.8.
The gate on the greedy soup passes; five seeds leave undecided that the uniform one is above the
best member under shifts, which three had shown. Results: results/reproductions/t5_blurred.
"""

from configs.reproductions.t3_blurred import get_config as t3_blurred
from configs.reproductions.t5 import REDUCED
from configs.reproductions.t5 import get_config as t5
from ftjax.reproductions.soups import soup_arms

BLURRED = (
    'As T5, on the blurred images of T3_BLURRED: out of distribution are the clean test images and '
    'those with gaussian noise .10.',
)
MOVED = (
    'The gates on averages that T5 tells as reports, since fine-tuning gains nothing there, are '
    'judged here.',
)
# What those notes say of shifts and of the network's first task is another thing here.
SHARED = tuple(
    note
    for note in REDUCED
    if not note.startswith(('Out of distribution', 'The network was trained'))
)


def get_config():
    config, data = t5(), t3_blurred()
    config.data.corruption = data.data.corruption
    section = config.ablation
    section['question'] = 'Do averages do better under shifts where fine-tuning gains?'
    section['arms'] = soup_arms(
        start={'freeze': 'head', 'optimizer.learning_rate': 0.3},
        rates=(1e-3, 3e-3, 1e-2),
        orders=3,
    )
    section['also_evaluate'] = data.ablation['also_evaluate']
    section['notes'] = (*BLURRED, *MOVED, *SHARED)
    section['reports'] = ()  # here they are gates
    return config
