r"""Fine-tuning on data of your own: all of it is used.

    python scripts/audit.py --config=configs/finetune.py --workdir=runs/audit \
        --config.data.source=folder:PATH --config.init=hf://ORG/NAME
    python scripts/train.py --config=configs/finetune.py --workdir=runs/mine \
        --config.data.source=folder:PATH --config.init=hf://ORG/NAME

`configs/finetune.py:drawings` is for characters, scans and whatever else must not be mirrored,
`configs/finetune.py:texts` for csv:PATH or jsonl:PATH and a network that takes texts,
`configs/finetune.py:tables` for csv:PATH with columns of numbers and categories: a perceptron with
random weights learns from all numbers, or from what --config.data.features="('age', 'town')" names.
What the source does not split is split: 20 % of the examples to test, 15 % to validate. All keys,
with what they mean: `python scripts/plan.py --keys`; below are those that are most often changed.
"""

from ftjax.config import template
from ftjax.errors import check_name

AUGMENT = {
    'photos': 'random_resized_crop:0.5,flip',
    'drawings': 'affine',
    'texts': 'none',
    'tables': 'none',
}
START = {  # pretrained weights: hf://ORG/NAME, a folder, or a network shipped here
    'init': 'glyphs',
    'freeze': 'last:2',  # head, full, lp_ft, lora:8, ..: python scripts/plan.py --list strategy
}
TABLES = {'init': '', 'freeze': 'full', 'model': {'name': 'mlp'}}


def get_config(kind='photos'):
    check_name(kind, AUGMENT, 'kind of data of configs/finetune.py:')
    tables = kind == 'tables'
    return template(
        **(TABLES if tables else START),
        data={
            # folder:PATH, csv:PATH, jsonl:PATH, npz:PATH, tfds:NAME
            'source': 'breast_cancer' if tables else 'digits:scattered',
            'features': ('*',) if tables else (),  # columns of a table; '*': all of numbers
            'task': 'classification',  # regression, multilabel
            'augment': AUGMENT[kind],
            'batch_size': 32,
            'group_column': '',  # the column of patients, speakers, ..: no split parts them
            'group_pattern': '',  # the same from file names: (?P<group>patient_\d+)
            'exclude': '',  # what scripts/audit.py --fix wrote
        },
        optimizer={
            'learning_rate': 1e-3,  # of what trains; 1e-4 to 3e-5 for freeze='full'
            'weight_decay': 0.01,
            'clip_norm': 1.0,
        },
        train={
            'epochs': 12.0,
            'eval_every': 1.0,  # epochs between validations: the best weights are kept
            'patience': 4,  # validations without a better one, after which training ends
        },
    )
