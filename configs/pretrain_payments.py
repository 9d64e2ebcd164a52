"""A perceptron for rows of a table, pretrained without labels: it guesses hidden features.

    python scripts/pretrain.py --config=configs/pretrain_payments.py --workdir=runs/payments

The payments are drawn, and are none of those of configs/payments.py, which fine-tunes it.
"""

from ftjax.config import template


def get_config():
    return template(
        init='',
        model={'name': 'mlp', 'width': 64, 'depth': 4},
        data={
            'source': 'fraud:60000',
            'task': 'masked_features',
            'missing': {'balance': 'median:true'},
            'batch_size': 256,
            'eval_batch_size': 1024,
            'test_fraction': 0.05,
            'val_fraction': 0.05,
        },
        freeze='full',
        optimizer={'learning_rate': 2e-3, 'weight_decay': 0.01, 'clip_norm': 1.0},
        train={'epochs': 10.0, 'eval_every': 1.0},
    )
