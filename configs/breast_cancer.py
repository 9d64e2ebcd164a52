r"""The embedded ablation of a table with few labels: ten benign and ten malignant breast masses.

    python scripts/pretrain.py --config=configs/pretrain_payments.py --workdir=runs/masses \
        --config.data.source=breast_cancer --config.data.missing= --config.data.batch_size=32 \
        --config.train.epochs=100
    python scripts/ablate.py --config=configs/breast_cancer.py --workdir=runs/masses_arms

The perceptron is pretrained on all 569 masses without their diagnosis (30 numbers each): it has
seen the test inputs too, not their labels. Results: results/breast_cancer.
"""

from ml_collections import ConfigDict

from ftjax.config import template

LOW, HIGH = (3e-4, 1e-3, 3e-3), (3e-3, 1e-2, 3e-2)


def get_config():
    config = template(
        init='runs/masses',
        data={
            'source': 'breast_cancer',
            'test_fraction': 0.4,
            'val_per_class': 20,
            'examples_per_class': 10,
            'batch_size': 10,
            'eval_batch_size': 256,
        },
        optimizer={'name': 'adamw', 'weight_decay': 0.01, 'clip_norm': 1.0},
        train={'epochs': 20.0, 'eval_every': 2.0},
    )
    config.ablation = ConfigDict(
        {
            'question': 'Twenty labelled masses: how much of a perceptron should learn from them?',
            'arms': {
                'full': 'full',
                'last:2': 'last:2',
                'head': {'freeze': 'head', 'rates': HIGH},
                'scratch': {'init': 'random:runs/masses', 'freeze': 'full'},
            },
            'rates': LOW,
            'seeds': (0, 1, 2, 3, 4),
            'reference': 'full',
            'metric': 'balanced_accuracy',
            'notes': (
                'Pretraining saw the inputs of all 569 masses, those of every test split too, and '
                'no label: the pretrained arms are transductive, scratch is not.',
            ),
        },
        convert_dict=False,
    )
    return config
