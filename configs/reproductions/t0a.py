"""T0a: LP, FT and LP-FT in the linear theory of Kumar et al. 2022, seconds on a CPU.

    bash scripts/reproduce.sh T0A

Published (error out of distribution at feature error .1 / 1 / 3): LP .012 / .651 / 1.043, FT .691 /
.847 / .938, LP-FT .008 / .465 / .835. Results: results/reproductions/t0a.
"""

from ml_collections import ConfigDict


def get_config():
    return ConfigDict(
        {
            'theory': 'linear',
            'question': 'Probe, fine-tune, or one after the other, when features are nearly right?',
            'reference': 'FT',
            'seeds': 20,
            'notes': (
                'Error: squared, out of distribution, of a target of length 1.',
                'The size of the random head that FT starts from is our choice (expected length '
                '1), and FT depends on it: its errors are below the published ones.',
            ),
        }
    )
