"""Sentiment of film sentences (SST-2, 2,000 of 6,920 to train on): how much of a BERT to train.

    python scripts/train.py --config=configs/sst2.py --config.init=FOLDER --workdir=runs/sst2
    python scripts/ablate.py --config=configs/sst2.py --config.init=FOLDER --workdir=runs/sst2_arms

FOLDER holds a BERT-like encoder with its tokenizer.json, for instance MiniLM (L6 H384); the
sentences need the data folder (environment variable FTJAX_DATA). Each seed draws another 2,000
sentences; 872 validate and 1,821 test, as given. Measured with MiniLM, three seeds, each at
its own rate, test accuracy and 95 % interval: all of it trained 86.5 % [85.7, 87.3], the head alone
80.3 % [78.5, 82.2]. A run of all of it takes about two minutes on two busy cores, one of the head
one. Results: results/sst2.
"""

from ml_collections import ConfigDict

from ftjax.config import template


def get_config():
    config = template(
        init='',
        # The mean over tokens: a pooler is trained only if sentence pairs were pretrained on.
        model={'pool': 'mean'},
        data={
            'source': 'csv:$FTJAX_DATA/text/sst2',
            'layout': 'label_last',
            'class_names': ('negative', 'positive'),
            'examples_per_class': 1000,
            'max_length': 64,  # cuts one sentence in a thousand
            'batch_size': 25,
            'eval_batch_size': 64,
        },
        freeze='full',
        optimizer={
            'name': 'adamw',
            'learning_rate': 1e-4,
            'weight_decay': 0.01,
            'clip_norm': 1.0,
        },
        train={'epochs': 3.0, 'steps_per_call': 8},
    )
    config.ablation = ConfigDict(
        {
            'question': 'Is a new head on frozen features enough for the sentiment of a sentence?',
            'arms': {
                'full': 'full',
                # A new head on frozen features takes 100 times the rate of pretrained weights.
                'head': {'freeze': 'head', 'rates': (2e-3, 5e-3, 1e-2)},
            },
            'rates': (5e-5, 1e-4, 2e-4),
            'seeds': (0, 1, 2),
            'tuning_seeds': 1,
            'reference': 'full',
            'max_extra': 2,
        },
        convert_dict=False,
    )
    return config
