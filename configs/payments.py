"""The embedded ablation of tables: how much of a pretrained perceptron to train on rare frauds.

    python scripts/pretrain.py --config=configs/pretrain_payments.py --workdir=runs/payments
    python scripts/ablate.py --config=configs/payments.py --workdir=runs/payments_arms

One payment in a hundred is fraud; of 6,000 drawn payments 55 % are learned from, in which each
class is drawn equally often. Average precision decides: with one positive in a hundred, accuracy
is .99 for who never answers fraud. Measured over five seeds, each with its own test split of 18
frauds among 1,800: all of it trained .52 [.41, .63], the last two blocks .50 [.35, .66], the head
alone .44 [.30, .59], all of it from random weights .48 [.40, .56]; times in the table are those of
a busy machine. The two commands once took 47 and 76 seconds on one core. Results: results/payments.
"""

from ml_collections import ConfigDict

from ftjax.config import template

LOW, HIGH = (3e-4, 1e-3, 3e-3), (3e-3, 1e-2, 3e-2)


def get_config():
    config = template(
        init='runs/payments',
        data={
            'source': 'fraud:6000',
            'missing': {'balance': 'median:true'},
            'test_fraction': 0.3,
            'val_fraction': 0.15,
            'sampler': 'balanced',
            'batch_size': 64,
            'eval_batch_size': 1024,
        },
        optimizer={'name': 'adamw', 'weight_decay': 0.01, 'clip_norm': 1.0},
        train={'epochs': 6.0, 'eval_every': 1.0, 'metric': 'average_precision'},
    )
    config.ablation = ConfigDict(
        {
            'question': 'How much of a perceptron pretrained without labels should learn fraud?',
            'arms': {
                'full': 'full',
                'last:2': 'last:2',
                'head': {'freeze': 'head', 'rates': HIGH},
                'scratch': {'init': 'random:runs/payments', 'freeze': 'full'},
            },
            'rates': LOW,
            'seeds': (0, 1, 2, 3, 4),
            'reference': 'full',
            'metric': 'average_precision',
            'notes': (
                'Drawn data: the payments are made by ftjax/data/synthetic/payments.py, so that '
                'the table says how the parts work, not what fraud is like.',
            ),
        },
        convert_dict=False,
    )
    return config
