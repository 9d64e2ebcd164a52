"""What to freeze of a sentence encoder on a hundred film sentences: the data of configs/sst2.py.

    python scripts/advise.py --config=configs/advice_sentences.py --config.init=FOLDER \
        --workdir=runs/advice_sentences --budget='15 min'

50 sentences a class train, 872 validate and 1,821 test, as given. FOLDER: see configs/sst2.py.
Results: results/advice/sentences.
"""

from configs.sst2 import get_config as sst2


def get_config():
    config = sst2()
    del config.ablation
    config.data.examples_per_class = 50
    config.train.epochs = 4.0
    config.train.eval_every = 2.0
    return config
