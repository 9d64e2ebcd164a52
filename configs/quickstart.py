"""The embedded ablation: which part of a small network to train on ten digits a class.

    python scripts/ablate.py --config=configs/quickstart.py --workdir=runs/quickstart

The shipped network was trained on printed characters; the task is handwritten digits at random
place, size and angle. Results: results/quickstart.
"""

from ml_collections import ConfigDict

from ftjax.config import template


def get_config():
    config = template(
        init='glyphs',
        data={
            'source': 'digits:scattered',
            'examples_per_class': 10,
            'val_per_class': 20,
            'batch_size': 25,
            'augment': 'shift:2',
        },
        optimizer={'name': 'adamw', 'weight_decay': 0.01, 'clip_norm': 1.0},
        train={'epochs': 24.0, 'eval_every': 6.0},
    )
    config.ablation = ConfigDict(
        {
            'question': 'Which part of a network trained on print should learn handwriting?',
            'arms': {
                'full': 'full',
                'last:4': 'last:4',
                'last:2': 'last:2',
                'last:1': 'last:1',
                'bitfit': 'bitfit',
                'head': 'head',
                'scratch': {'init': 'random:glyphs', 'freeze': 'full'},
                'pixels': {'baseline': 'pixels'},
            },
            'rates': (1e-3, 3e-3, 1e-2),
            'seeds': (0, 1, 2),
            'reference': 'full',
        },
        convert_dict=False,
    )
    return config
