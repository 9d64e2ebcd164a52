r"""The text encoder that ships with the package: masked tokens of Python's own documentation.

    python scripts/pretrain.py --config=configs/pretrain_docstrings.py --workdir=runs/docstrings \
        --publish=ftjax/pretrained/weights/docstrings --publish_dtype=float16

The tokenizer is trained on the same sentences. None of them is among those of the data source
`docstrings`, on which the encoder is fine-tuned.
"""

from ftjax.config import template


def get_config():
    return template(
        init='',
        model={
            'name': 'bert',
            'head': 'lm',
            'pool': 'mean',
            'vocab_size': 2048,
            'width': 96,
            'depth': 4,
            'heads': 4,
            'mlp_dim': 256,
            'max_positions': 64,
            'dropout': 0.0,
        },
        data={
            'source': 'docstrings:unlabelled',
            'task': 'masked_tokens',
            'tokenizer': 'wordpiece:2048',
            'max_length': 64,
            'batch_size': 64,
            'eval_batch_size': 64,
            'test_fraction': 0.03,
            'val_fraction': 0.03,
        },
        freeze='full',
        optimizer={
            'learning_rate': 2e-3,
            'weight_decay': 0.01,
            'betas': (0.9, 0.98),
            'clip_norm': 1.0,
        },
        schedule={'warmup': 0.05},
        train={'steps': 3000, 'eval_every': 1.0},
    )
