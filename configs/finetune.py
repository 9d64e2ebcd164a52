"""Fine-tuning on data of your own: all of it is used.

    python scripts/train.py --config=configs/own_data.py --workdir=runs/mine \
        --config.data.source=folder:PATH --config.init=hf://ORG/NAME

What the source does not split is split: 20 % of the examples to test, 15 % to validate. Texts
come by csv:PATH or jsonl:PATH and a network that takes them.
"""

from ftjax.config import template


def get_config():
    return template(
        init='glyphs',
        data={'source': 'digits:scattered'},
        freeze='last:2',
        optimizer={'learning_rate': 1e-3, 'weight_decay': 0.01, 'clip_norm': 1.0},
        train={'epochs': 12.0, 'eval_every': 1.0},
    )
