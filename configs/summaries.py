"""Embeddings without a download: which function a sentence of documentation is about.

    python scripts/train.py --config=configs/summaries.py --workdir=runs/summaries

Functions of Python's standard library: the first sentence of the docstring of one asks for its
name and parameters among those of all functions of the split. The shipped encoder was pretrained
on other sentences of the same documentation. Results: results/summaries/README.md.
"""

from ftjax.config import template


def get_config():
    return template(
        init='docstrings',
        data={
            'source': 'docstrings:pairs',
            'task': 'embedding',
            'test_fraction': 0.25,
            'val_fraction': 0.15,
            'max_length': 32,
            'batch_size': 64,
            'eval_batch_size': 128,
        },
        freeze='full',
        optimizer={
            'name': 'adamw',
            'learning_rate': 1e-3,
            'weight_decay': 0.01,
            'clip_norm': 1.0,
        },
        schedule={'warmup': 0.1},
        train={'epochs': 10.0, 'eval_every': 2.0, 'steps_per_call': 4},
    )
