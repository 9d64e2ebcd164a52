r"""The decoder that ships with the package: the next word of Python's own documentation.

    python scripts/pretrain.py --config=configs/pretrain_docstrings_lm.py \
        --workdir=runs/docstrings_lm --publish=ftjax/pretrained/weights/docstrings_lm \
        --publish_dtype=bfloat16

A Llama of 0.7 million parameters. None of its sentences is among those that configs/instruct.py
asks about. The tokenizer, pairs of bytes, is trained on the same sentences.
"""

from ftjax.config import template


def get_config():
    return template(
        init='',
        model={
            'name': 'llama',
            'head': 'lm',
            'vocab_size': 1024,
            'width': 128,
            'depth': 4,
            'heads': 4,
            'kv_heads': 2,
            'mlp_dim': 256,
            'max_positions': 256,
            'tied': True,
        },
        data={
            'source': 'docstrings:unlabelled',
            'task': 'causal_lm',
            'tokenizer': 'bytes:1024',
            'max_length': 96,
            'packing': True,
            'batch_size': 64,
            'eval_batch_size': 64,
            'test_fraction': 0.03,
            'val_fraction': 0.03,
        },
        freeze='full',
        optimizer={
            'learning_rate': 3e-3,
            'weight_decay': 0.01,
            'betas': (0.9, 0.98),
            'clip_norm': 1.0,
        },
        schedule={'warmup': 0.05},
        train={'steps': 1600, 'eval_every': 1.0},
    )
