"""What a question asks for (TREC, 6 classes): how much of a BERT to train.

    python scripts/train.py --config=configs/trec.py --config.init=FOLDER --workdir=runs/trec
    python scripts/ablate.py --config=configs/trec.py --config.init=FOLDER --workdir=runs/trec_arms

FOLDER holds a BERT-like encoder with its tokenizer.json, for instance MiniLM (L6 H384); the
questions need the data folder (environment variable FTJAX_DATA). Of 5,452 training questions
545 validate, others with each seed; 500 test, as given. Measured with MiniLM after 2 epochs,
five seeds, each at its own rate, test accuracy and 95 % interval: all of it trained 95.9 %
[95.3, 96.6], the head alone 90.0 % [88.5, 91.5]. A run of all of it takes one to four minutes on
two busy cores, one of the head half of one. Results: results/trec.
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
            'max_length': 32,  # cuts three in a thousand
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
        train={'epochs': 2.0, 'steps_per_call': 8},
    )
    config.ablation = ConfigDict(
        {
            'question': 'Is a new head on frozen features enough to see what a question asks for?',
            'arms': {
                'full': 'full',
                # A new head on frozen features takes 100 times the rate of pretrained weights.
                'head': {'freeze': 'head', 'rates': (5e-3, 1e-2, 2e-2)},
            },
            'rates': (5e-5, 1e-4, 2e-4),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 1,
            'reference': 'full',
            'max_extra': 2,
        },
        convert_dict=False,
    )
    return config
