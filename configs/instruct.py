"""Instruction tuning of a small decoder, without a download: questions about sentences.

    python scripts/train.py --config=configs/instruct.py --workdir=runs/instruct
    python scripts/generate.py --workdir=runs/instruct --prompts=test --new_tokens=12

The decoder was pretrained on other sentences of Python's documentation. It is asked for the topic
of a sentence, its first or its last word; the loss is on the answers alone. On half a thousand
sentences of its pretraining it is told what it forgot. Measured with Python 3.11, one seed:
exact match 32.2 % of 661 questions, 95 % interval 28.8 to 35.9, and 1.25 nats a token forgotten
(results/instruct).
"""

from ftjax.config import template


def get_config():
    return template(
        init='docstrings_lm',
        data={
            'source': 'docstrings:questions',
            'task': 'causal_lm',
            'max_length': 96,
            'batch_size': 32,
            'eval_batch_size': 64,
            'test_fraction': 0.2,
            'val_fraction': 0.1,
        },
        freeze='full',
        optimizer={'learning_rate': 1e-3, 'weight_decay': 0.01, 'clip_norm': 1.0},
        schedule={'warmup': 0.1},
        train={'epochs': 4.0, 'eval_every': 1.0, 'forgetting': 'docstrings:unlabelled'},
    )
