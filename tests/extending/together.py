"""All parts of one's own in one run; each stands in a file of its own."""

import pathlib
import sys

from ml_collections import ConfigDict

from ftjax.config import template

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import own_adapter  # noqa: F401
import own_augmentation  # noqa: F401
import own_logger  # noqa: F401
import own_loss  # noqa: F401
import own_metric  # noqa: F401
import own_model  # noqa: F401
import own_optimizer  # noqa: F401
import own_schedule  # noqa: F401
import own_source  # noqa: F401
import own_strategy  # noqa: F401
import own_task  # noqa: F401


def get_config(ablate=''):
    config = template(
        init='',
        model={'name': 'dense_pair'},
        data={
            'source': 'stripes:90',
            'batch_size': 10,
            'augment': 'dim:0.1,0.2,flip',
            'task': 'margins',
        },
        freeze='ends:1+gained',
        optimizer={'name': 'signs:0.5'},
        schedule={'name': 'stairs:2'},
        train={
            'steps': 2,
            'loggers': ('lines:mine',),
            'loss': 'tempered:3',
            'metric': 'lowest_margin',
        },
    )
    if ablate:
        config.ablation = ConfigDict(
            {
                'arms': {'ends': 'ends:1', 'gained': 'gained', 'head': 'head'},
                'rates': (1e-2,),
                'seeds': (0, 1),
                'max_extra': 0,
            },
            convert_dict=False,
        )
    return config
