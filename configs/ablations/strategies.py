"""Every strategy of the catalogue on the embedded task, rates tuned for each, three seeds.

    python scripts/ablate.py --config=configs/ablations/strategies.py --workdir=runs/strategies

A strategy of your own, registered above `get_config`, is one more arm. Some hours on two cores;
an interrupted call goes on where it was. Results: results/strategies.
"""

from ml_collections import ConfigDict

from ftjax.config import template
from ftjax.freezing.registry import catalogue


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
    names = [found.example for found in catalogue().values()]
    config.ablation = ConfigDict(
        {
            'question': 'What should be frozen, when, and how, on ten scattered digits a class?',
            'arms': {name: name for name in names},
            'rates': (1e-3, 3e-3, 1e-2),
            'seeds': (0, 1, 2),
            'reference': 'full',
            'max_extra': 0,
        },
        convert_dict=False,
    )
    return config
