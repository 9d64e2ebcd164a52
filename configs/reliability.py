"""Tiny runs that are killed and gone on with: what scripts/reliability.py trains.

    python scripts/train.py --config=configs/reliability.py:gradual --workdir=runs/tiny

The argument names the case: `plain` (augmentation, dropout, a moving average, skipped bad
numbers), `gradual` and `lisa` (phases), `cached` (features of the frozen stages). A run takes a
few seconds, of which half are its 10 validations and checkpoints: there are many moments to
be killed at.
"""

from ftjax.config import template

CASES = {
    'plain': {'freeze': 'last:1', 'augment': 'shift:1', 'ema': 0.9, 'skip_bad': 1},
    'gradual': {'freeze': 'gradual'},
    'lisa': {'freeze': 'lisa:1'},
    'cached': {'freeze': 'last:1', 'cache': 'on'},
}


def get_config(case: str = 'plain'):
    chosen = CASES[case]
    return template(
        init='',
        model={
            'name': 'vit',
            'image_size': 16,
            'patch_size': 8,
            'width': 16,
            'depth': 2,
            'heads': 2,
            'dropout': 0.1 if case == 'plain' else 0.0,
        },
        data={
            'source': 'digits:scattered',
            'examples_per_class': 4,
            'val_per_class': 4,
            'batch_size': 10,
            'augment': chosen.get('augment', 'none'),
        },
        freeze=chosen['freeze'],
        optimizer={'learning_rate': 1e-2, 'clip_norm': 1.0, 'ema': chosen.get('ema', 0.0)},
        train={
            'steps': 40,
            'eval_every': 1.0,
            'steps_per_call': 2,
            'cache': chosen.get('cache', 'off'),
            'skip_bad': chosen.get('skip_bad', 0),
        },
    )
