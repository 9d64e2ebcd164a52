r"""The shipped network that transformers opens: a small ViT with a class token, on print.

    python scripts/pretrain.py --config=configs/pretrain_glyphs_cls.py --workdir=runs/glyphs_cls \
        --publish=ftjax/pretrained/weights/glyphs_cls --publish_dtype=float16

About 14 minutes on two cores that do other work too. It sees the same characters as `glyphs` does.
Its layout is that of ViTForImageClassification, one large patch in place of a convolutional stem
and a class token in place of a mean, so that what is fine-tuned from it can be exported.
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
            'width': 48,
            'depth': 5,
            'heads': 4,
            'mlp_dim': 144,
        },
        data={
            'source': 'glyphs:60000',
            'batch_size': 64,
            'test_fraction': 0.02,
            'val_fraction': 0.02,
        },
        freeze='full',
        optimizer={
            'learning_rate': 2e-3,
            'weight_decay': 0.05,
            'betas': (0.9, 0.98),
            'clip_norm': 1.0,
        },
        schedule={'warmup': 0.05},
        train={'steps': 12000, 'eval_every': 0.5, 'label_smoothing': 0.05},
    )
