"""Token classification on lines of code, without a download: calls, definitions, parameters.

    python scripts/train.py --config=configs/code_tags.py --workdir=runs/code_tags

Lines of Python's standard library without their brackets and dots, tagged by Python's own
tokenizer; the shipped encoder was pretrained on the library's docstrings and never saw code.
Results and how to make them again: results/code_tags/README.md.
"""

from ftjax.config import template


def get_config():
    return template(
        init='docstrings',
        data={
            'source': 'docstrings:code',
            'task': 'token_classification',
            'test_fraction': 0.25,
            'val_fraction': 0.15,
            'max_length': 64,
            'batch_size': 32,
            'eval_batch_size': 64,
        },
        freeze='full',
        optimizer={
            'name': 'adamw',
            'learning_rate': 1e-3,
            'weight_decay': 0.01,
            'clip_norm': 1.0,
        },
        schedule={'warmup': 0.1},
        train={'epochs': 8.0, 'eval_every': 2.0, 'steps_per_call': 8},
    )
