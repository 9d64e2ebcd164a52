"""T0b: which layer of a two-layer network to train under a shift (Lee et al. 2022), seconds.

    bash scripts/reproduce.sh T0B

Published (first / last / all), input shift: n 40 .101 / .145 / .119, n 200 .023 / .104 / .024;
output shift: n 40 .650 / .128 / .328, n 200 .082 / .000 / .011. Results:
results/reproductions/t0b.
"""

from ml_collections import ConfigDict


def get_config():
    return ConfigDict(
        {
            'theory': 'relu',
            'question': 'Which layer of two should learn a shift of inputs, and one of outputs?',
            'reference': 'all',
            'seeds': 20,
            'notes': (
                "Error: squared, over the target's variance. Rates are chosen on 200 points.",
                'The sizes of both shifts are our choice: A is 1 + .5 G / sqrt(10), and the last '
                'layer is drawn anew.',
                'With n 20 points for 40 hidden units the last layer cannot be found: it is below '
                'the first there, and not far below.',
            ),
        }
    )
