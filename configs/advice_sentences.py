r"""What to freeze of a sentence encoder on a hundred film sentences of SST-2.

    python scripts/advise.py --config=configs/advice_sentences.py --config.init=FOLDER \
        --workdir=runs/advice_sentences --budget='10 min'

Only the 872 sentences of dev.tsv, so that a run takes seconds: 50 a class train, 50 a class
validate, two fifths test. FOLDER: see configs/sst2.py. Results: results/advice/sentences.
"""

from configs.sst2 import get_config as sst2


def get_config():
    config = sst2()
    del config.ablation
    config.data.source = 'csv:$FTJAX_DATA/text/sst2/dev.tsv'
    config.data.test_fraction = 0.4
    config.data.val_per_class = 50
    config.data.examples_per_class = 50
    config.data.max_length = 48
    config.train.epochs = 3.0
    config.train.eval_every = 1.5
    return config
