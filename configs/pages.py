"""Segmentation on the embedded example: digits and letters on pages of noise; seconds on a CPU.

    python scripts/train.py --config=configs/pages.py --workdir=runs/pages

The network that was trained on single characters of 24 pixels answers each patch of 48 pixels.
"""

from ftjax.config import template


def get_config():
    return template(
        init='glyphs',
        model={'head': 'linear'},
        data={
            'task': 'segmentation',
            'source': 'pages:240',
            'image_size': (48, 48),
            'test_fraction': 0.4,
            'val_fraction': 0.2,
            'batch_size': 16,
            'palette': ('#000000', '#e69f00', '#56b4e9'),
        },
        freeze='last:2',
        optimizer={'learning_rate': 3e-3, 'weight_decay': 0.01, 'clip_norm': 1.0},
        train={'epochs': 16.0, 'eval_every': 4.0},
    )
