"""Distillation without a download: a small network learns from the shipped one, its teacher.

    python scripts/train.py --config=configs/distil.py --workdir=runs/distil

The student is a ViT of two blocks and random weights, a tenth of the teacher's size; both tell 52
printed characters apart. The teacher, `glyphs`, was trained on characters of another draw and has
seen none of these. It is frozen and answers every training example once.
--config.train.loss='' is the same student without a teacher. Results: results/distil.
"""

from ftjax.config import template


def get_config():
    return template(
        init='',
        model={
            'name': 'vit',
            'image_size': 24,
            'patch_size': 4,
            'channels': 1,
            'stem': 'conv',
            'pool': 'mean',
            'width': 32,
            'depth': 2,
            'heads': 2,
            'mlp_dim': 64,
        },
        data={
            'source': 'glyphs:3000,1',
            'test_fraction': 0.4,
            'val_fraction': 0.2,
            'batch_size': 48,
            'eval_batch_size': 100,
        },
        freeze='full',
        optimizer={'learning_rate': 3e-3, 'weight_decay': 0.01, 'clip_norm': 1.0},
        schedule={'warmup': 0.1},
        train={
            'epochs': 20.0,
            'eval_every': 5.0,
            'steps_per_call': 10,
            'loss': 'distillation:teacher=glyphs,alpha=0.9,temperature=4',
        },
    )
