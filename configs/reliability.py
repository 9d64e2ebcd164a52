"""Tiny runs that are killed and gone on with: what scripts/reliability.py trains.

    python scripts/train.py --config=configs/reliability.py:gradual --workdir=runs/tiny

The argument names the case: a strategy; `plain` (augmentation, dropout, a moving average, steps
skipped as not finite), `cached` and `cached_files` (features of the frozen stages), `badly_timed`
(validations that fall into the middle of phases and calls), `texts` (batches of several lengths),
`vectorised` (an ablation). A run takes a second or two, of which half are its 10 validations and
checkpoints: there are many moments to be killed at.
"""

from ftjax.config import template

CASES = {
    'plain': {
        'freeze': 'last:1',
        'model.dropout': 0.1,
        'data.augment': 'shift:1',
        'optimizer.ema': 0.9,
        'train.skip_bad': 1,
    },
    'gradual': {'freeze': 'gradual'},
    'lisa': {'freeze': 'lisa:1'},
    'cached': {'freeze': 'last:1', 'train.cache': 'on'},
    'cached_files': {'freeze': 'last:1', 'train.cache': 'on', 'train.cache_bytes': 1},
    'lp_ft': {'freeze': 'lp_ft'},
    'auto_rgn': {'freeze': 'auto_rgn:2'},
    'subtuning': {'freeze': 'subtuning:0.01,2,1'},
    'soup': {'freeze': 'last:1+soup_greedy:2', 'train.steps': 20},
    'ema_accumulate': {'freeze': 'last:1', 'optimizer.ema': 0.9, 'optimizer.accumulate': 2},
    'lora': {'freeze': 'lora:2'},
    'mixout': {'freeze': 'full+mixout:0.5'},
    'freezeout': {'freeze': 'freezeout'},
    'badly_timed': {'freeze': 'gradual:0.7', 'train.eval_every': 0.9, 'train.steps': 37},
    'texts': {
        'freeze': 'last:1',
        'init': 'random:docstrings',
        'model': {},
        'data.source': 'csv:$FTJAX_DATA/texts.csv',
        'data.max_length': 64,
        'data.examples_per_class': 20,
    },
    'vectorised': {'freeze': 'head', 'train.cache': 'on'},
}
ABLATION = {'arms': {'head': 'head', 'norm': 'norm'}, 'rates': (1e-3, 1e-2, 1e-1), 'seeds': (0, 1)}


def get_config(case: str = 'plain'):
    config = template(
        init='',
        model={
            'name': 'vit',
            'image_size': 16,
            'patch_size': 8,
            'width': 16,
            'depth': 2,
            'heads': 2,
            'dropout': 0.0,
        },
        data={
            'source': 'digits:scattered',
            'examples_per_class': 4,
            'val_per_class': 4,
            'batch_size': 10,
        },
        optimizer={'learning_rate': 1e-2, 'clip_norm': 1.0},
        train={
            'steps': 40,
            'eval_every': 1.0,
            'steps_per_call': 2,
            'cache': 'off',
            'report': False,
        },
    )
    for key, value in CASES[case].items():
        if '.' in key:
            section, name = key.split('.')
            config[section][name] = value
        else:
            with config.ignore_type():
                config[key] = value
    if case == 'vectorised':
        config.ablation = ABLATION
    return config
