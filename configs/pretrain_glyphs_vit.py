"""A second shipped network: a plain vision transformer that transformers has a class for.

    python scripts/pretrain.py --config=configs/pretrain_glyphs_vit.py --workdir=runs/glyphs_vit \
        --publish=ftjax/pretrained/weights/glyphs_vit --publish_dtype=float16

It is smaller than `glyphs` and trained for a shorter time: it is there to be exported.
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
            'pool': 'cls',
            'width': 64,
            'depth': 4,
            'heads': 4,
            'mlp_dim': 192,
        },
        data={
            'source': 'glyphs:40000',
            'batch_size': 64,
            'test_fraction': 0.03,
            'val_fraction': 0.03,
        },
        freeze='full',
        optimizer={
            'learning_rate': 1.5e-3,
            'weight_decay': 0.05,
            'betas': (0.9, 0.98),
            'clip_norm': 1.0,
        },
        schedule={'warmup': 0.05},
        train={'steps': 5000, 'eval_every': 1.0, 'label_smoothing': 0.05, 'report': False},
    )
