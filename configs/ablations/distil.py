"""Is a small network better for a teacher? The ablation of configs/distil.py, after its teacher.

    python scripts/ablate.py --config=configs/ablations/distil.py --workdir=runs/distil_arms

`smoothed` has soft labels that say nothing of the payment, `large alone` is a network of the
teacher's size that learns what the student does: what is gained beyond these is what the teacher
knows from its own payments. Committed: results/distil.
"""

from ml_collections import ConfigDict

from configs.distil import get_config as one_run

TEACHER = 'runs/fraud_teacher'


def get_config():
    config = one_run()
    loss = f'distillation:teacher={TEACHER},alpha={{}},temperature=2'
    config.ablation = ConfigDict(
        {
            'question': 'Is a small network better for learning from a larger one?',
            'arms': {
                'alone': {'train.loss': ''},
                'smoothed': {'train.loss': '', 'train.label_smoothing': 0.1},
                'large alone': {'train.loss': '', 'model.width': 64, 'model.depth': 4},
                'taught 0.5': {'train.loss': loss.format(0.5)},
                'taught 0.9': {'train.loss': loss.format(0.9)},
                'teacher': {'init': TEACHER, 'model': {}, 'baseline': 'pretrained'},
            },
            'rates': (1e-3, 3e-3, 1e-2),
            'seeds': (0, 1, 2, 3, 4),
            'reference': 'alone',
            'metric': 'average_precision',
            'max_extra': 3,
            'notes': (
                'Drawn data: the payments are made by ftjax/data/synthetic/payments.py.',
                'The teacher has learned from 60,000 other payments: what a taught network gains '
                'comes from these too.',
            ),
        },
        convert_dict=False,
    )
    return config
