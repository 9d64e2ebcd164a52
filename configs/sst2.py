"""Sentiment of film sentences (SST-2, 2,000 of 6,920 to train on): how much of a BERT to train.

    python scripts/train.py --config=configs/sst2.py --config.init=FOLDER --workdir=runs/sst2
    python scripts/ablate.py --config=configs/sst2.py --config.init=FOLDER --workdir=runs/sst2_arms

FOLDER holds a BERT-like encoder with its tokenizer.json, for instance MiniLM (L6 H384); the
sentences need the data folder (environment variable FTJAX_DATA). Each seed draws another 2,000
sentences; 872 validate and 1,821 test, as given. To expect from MiniLM, test accuracy: all of
it trained 85 to 86.5 % (85.7 with seed 0 at 1e-4), the head alone 77.5 to 80 % (78.5 at 3e-4).
A run of all of it takes about two minutes on two busy cores, one of the head one.
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
            'question': 'How many of the last blocks should learn the sentiment of a sentence?',
            'arms': {
                'full': 'full',
                'last:2': 'last:2',
                'last:1': 'last:1',
                # A new head on frozen features takes 100 times the rate of pretrained weights:
                # with 1e-4 in the table it learns at 1e-2.
                'head': {'freeze': {'phases': ((None, 'head', 100.0),)}},
            },
            'rates': (3e-5, 1e-4, 3e-4),
            'seeds': (0, 1, 2),
            'reference': 'full',
        },
        convert_dict=False,
    )
    return config
