"""One fine-tuning run on texts, without a download: are the words of a sentence in order?

    python scripts/train.py --config=configs/docstrings.py --workdir=runs/docstrings

Sentences of Python's own documentation, 200 a class, none of which the shipped encoder was
pretrained on; in half of them the inner words are shuffled. Another strategy is a flag away,
--config.freeze=bitfit, and so is another task on the same sentences, their topic:
--config.data.source=docstrings. Measured with Python 3.11, three seeds, this rate, test accuracy:
78.3 %; the same network from random weights (--config.init=random:docstrings): 49.5 %, which is
chance. The difference, paired by seed, is 28.8 points, 95 % interval 20.4 to 37.1.
"""

from ftjax.config import template


def get_config():
    return template(
        init='docstrings',
        data={
            'source': 'docstrings:order',
            'examples_per_class': 200,
            'val_per_class': 100,
            'test_fraction': 0.3,
            'max_length': 64,
            'batch_size': 25,
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
