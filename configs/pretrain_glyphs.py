r"""The network that ships with the package, trained on printed characters.

    python scripts/pretrain.py --config=configs/pretrain_glyphs.py --workdir=runs/glyphs \
        --publish=ftjax/pretrained/weights/glyphs

About 9 minutes on two cores. Characters are rendered from the fonts that matplotlib carries,
strongly distorted, so that what is learnt from print transfers to handwriting.
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
            'width': 64,
            'depth': 5,
            'heads': 4,
            'mlp_dim': 192,
        },
        data={
            'source': 'glyphs:60000',
            'batch_size': 64,
            'test_fraction': 0.02,
            'val_fraction': 0.02,
        },
        freeze='full',
        optimizer={
            'learning_rate': 1.5e-3,
            'weight_decay': 0.05,
            'betas': (0.9, 0.98),
            'clip_norm': 1.0,
        },
        schedule={'warmup': 0.05},
        train={'steps': 9000, 'eval_every': 0.5, 'label_smoothing': 0.05},
    )
