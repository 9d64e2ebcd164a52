"""The embedded ablation: which part of a small network to train on ten digits a class.

    python scripts/ablate.py --config=configs/quickstart.py --workdir=runs/quickstart

The shipped network was trained on printed characters; the task is handwritten digits at random
place, size and angle. Results: results/quickstart.
"""

from ml_collections import ConfigDict

from ftjax.config import template

# Three rates an arm, where earlier runs with wider grids had found the best one; where it lies on
# the edge all the same, every arm gets a fourth.
LOW, HIGH, BIASES = (3e-4, 1e-3, 3e-3), (3e-3, 1e-2, 3e-2), (1e-2, 3e-2, 1e-1)


def get_config():
    config = template(
        init='glyphs',
        data={
            'source': 'digits:scattered',
            'examples_per_class': 10,
            'val_per_class': 20,
            'batch_size': 25,
            'eval_batch_size': 100,  # 200 to choose and 359 to test fill these best
            'augment': 'shift:2',
        },
        optimizer={'name': 'adamw', 'weight_decay': 0.01, 'clip_norm': 1.0},
        train={'epochs': 24.0, 'eval_every': 6.0},
    )
    config.ablation = ConfigDict(
        {
            'question': 'Which part of a network trained on print should learn handwriting?',
            'arms': {
                'full': {'freeze': 'full', 'rates': LOW},
                'last:4': {'freeze': 'last:4', 'rates': LOW},
                'last:2': 'last:2',
                'last:1': 'last:1',
                'bitfit': {'freeze': 'bitfit', 'rates': BIASES},
                'head': {'freeze': 'head', 'rates': HIGH},
                'scratch': {'init': 'random:glyphs', 'freeze': 'full', 'rates': LOW},
                'pixels': {'baseline': 'pixels'},
            },
            'rates': (1e-3, 3e-3, 1e-2),
            'seeds': (0, 1, 2, 3, 4),
            'reference': 'full',
            'notes': (),  # what readers of the table are told
        },
        convert_dict=False,
    )
    return config
