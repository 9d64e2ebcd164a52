"""What a question asks for (TREC, 6 classes): how much of a BERT to train.

    python scripts/train.py --config=configs/trec.py --config.init=FOLDER --workdir=runs/trec
    python scripts/ablate.py --config=configs/trec.py --config.init=FOLDER --workdir=runs/trec_arms

FOLDER holds a BERT-like encoder with its tokenizer.json, for instance MiniLM (L6 H384); the
questions need the data folder (environment variable FTJAX_DATA). Of 5,452 training questions
545 validate, others with each seed; 500 test, as given. To expect from MiniLM, test accuracy:
all of it trained 95.5 to 97.5 % (96.6 with seed 0 at 1e-4), the head alone 88 to 91 %. A run of
all of it takes three to five minutes on two busy cores, one of the head one.
"""

from ml_collections import ConfigDict

from ftjax.config import template

CLASSES = ('description', 'entity', 'abbreviation', 'human', 'location', 'number')


def get_config():
    config = template(
        init='',
        # The mean over tokens: a pooler is trained only if sentence pairs were pretrained on.
        model={'pool': 'mean'},
        data={
            'source': 'csv:$FTJAX_DATA/text/trec',
            'train_file': 'TREC.train.all',
            'test_file': 'TREC.test.all',
            'layout': 'label_first',
            'delimiter': ' ',
            'encoding': 'latin-1',
            'class_names': CLASSES,
            'val_fraction': 0.1,
            'max_length': 64,
            'batch_size': 32,
            'eval_batch_size': 64,
        },
        freeze='full',
        optimizer={
            'name': 'adamw',
            'learning_rate': 1e-4,
            'weight_decay': 0.01,
            'clip_norm': 1.0,
        },
        train={'epochs': 4.0, 'steps_per_call': 8},
    )
    config.ablation = ConfigDict(
        {
            'question': 'How many of the last blocks should learn what a question asks for?',
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
