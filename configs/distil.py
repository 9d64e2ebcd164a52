r"""Distillation without a download: a small perceptron learns from a larger one, its teacher.

    python scripts/train.py --config=configs/distil.py --workdir=runs/fraud_teacher \
        --config.train.loss= --config.model.width=64 --config.model.depth=4 \
        --config.data.source=fraud:60000
    python scripts/train.py --config=configs/distil.py --workdir=runs/distil

The teacher learns from 60,000 drawn payments; the student from others, a third as many, of which
one in a hundred is fraud. The teacher is frozen and answers each of these once, before the first
step. The second command with --config.train.loss= is the student without a teacher. Results and
the comparison over seeds: results/distil.
"""

from ftjax.config import template


def get_config():
    return template(
        init='',
        model={'name': 'mlp', 'width': 16, 'depth': 1},
        data={
            'source': 'fraud:20000',
            'missing': {'balance': 'median:true'},
            'test_fraction': 0.3,
            'val_fraction': 0.15,
            'sampler': 'balanced',
            'batch_size': 64,
            'eval_batch_size': 1024,
        },
        freeze='full',
        optimizer={'learning_rate': 3e-3, 'weight_decay': 0.01, 'clip_norm': 1.0},
        train={
            'epochs': 6.0,
            'eval_every': 1.0,
            'metric': 'average_precision',
            'loss': 'distillation:teacher=runs/fraud_teacher,alpha=0.9,temperature=2',
        },
    )
