"""One fine-tuning run on the embedded example; about ten seconds on a CPU.

    python scripts/train.py --config=configs/quickstart_train.py --workdir=runs/digits

Another strategy is a flag away: --config.freeze=bitfit.
"""

from ftjax.config import template


def get_config():
    return template(
        init='glyphs',
        data={
            'source': 'digits:scattered',
            'examples_per_class': 10,
            'val_per_class': 20,
            'batch_size': 25,
            'augment': 'shift:2',
        },
        freeze='last:2',
        optimizer={'learning_rate': 1e-3, 'weight_decay': 0.01, 'clip_norm': 1.0},
        train={'epochs': 24.0, 'eval_every': 3.0},
    )
