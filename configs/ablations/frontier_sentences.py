r"""What should learn in an encoder of sentences, and which meaning do its vectors lose?

    FTJAX_DATA=FOLDER FTJAX_MINILM=FOLDER python scripts/ablate.py \
        --config=configs/ablations/frontier_sentences.py --workdir=runs/frontier_sentences

FOLDER holds MiniLM (L6 H384, BERT's layout) with its tokenizer.json; the texts need the data
folder (environment variable FTJAX_DATA). The task is the sentiment of film sentences
(configs/sst2.py). Retention is how well the vectors that reach the head still tell paraphrases
from other pairs: Spearman's correlation of their cosine with the labels of MRPC, of which nothing
is trained on. It is not the loss of hidden tokens: MiniLM comes without the layer that guesses
them. Of an encoder that has it, the shipped one say, that would be the test set
{'source': 'docstrings:unlabelled', 'task': 'masked_tokens', 'head': 'source'} and the metric
'loss'. Measured, test accuracy (%) / correlation of paraphrases: pretrained - / .37, full 78.1 /
.37, head 71.8 / .37 and first:2 72.3 / .36 (both worse), lora:8,all 78.3 / .40, norm 78.2 / .41; no
other arm differs significantly from full, and none from the pretrained network on paraphrases. The
rate that one seed chose lay beside a cliff for ema and wise_ft (69.9 and 73.2). Results:
results/frontier_sentences. About two hours of one busy core; it goes on where it was stopped.
"""

from ml_collections import ConfigDict

from configs.sst2 import get_config as sst2

PARAPHRASES = {
    'source': 'csv:$FTJAX_DATA/text/mrpc/msr_paraphrase_test.txt',
    'task': 'text_similarity',
    'head': 'vector',
    'layout': 'header',
    'label_column': 'Quality',
    'text_columns': ('#1 String', '#2 String'),
    'delimiter': '\t',
    'quoting': 'none',
    'encoding': 'utf-8-sig',
    'test_fraction': 0.12,
    'val_fraction': 0.0,
}
LOW, MIDDLE, HIGH = (2e-4, 4e-4, 8e-4), (3e-4, 1e-3, 3e-3), (1e-3, 3e-3, 1e-2)
MIDDLE_BLOCKS = 'block_0[1-3]'  # those of blocks:20%-80%
ARMS = {
    'full': {'freeze': 'full', 'rates': LOW},
    'head': {'freeze': 'head', 'rates': (1e-2, 3e-2, 1e-1)},
    'last:1': {'freeze': 'last:1', 'rates': HIGH},
    'last:3': {'freeze': 'last:3', 'rates': MIDDLE},
    'first:2': {'freeze': 'first:2', 'rates': HIGH},
    'blocks:20%-80%': {'freeze': 'blocks:20%-80%', 'rates': MIDDLE},
    'mlp_in': {'freeze': 'mlp_in', 'rates': MIDDLE},
    'attention_proj': {'freeze': 'attention_proj', 'rates': MIDDLE},
    'bitfit': {'freeze': 'bitfit', 'rates': (3e-3, 1e-2, 3e-2)},
    'norm': {'freeze': 'norm', 'rates': (3e-3, 1e-2, 3e-2)},
    'lora:8': {'freeze': 'lora:8', 'rates': HIGH},
    'lora:8,all': {'freeze': 'lora:8,all', 'rates': HIGH},
    'lora:8, 20%-80%': {'freeze': f'lora:8,16,{MIDDLE_BLOCKS}/.*(query|value)', 'rates': HIGH},
    'adapter:8': {'freeze': 'adapter:8', 'rates': HIGH},
    'l2_sp': {'freeze': 'full+l2_sp:0.1', 'rates': LOW},
    'mixout': {'freeze': 'full+mixout:0.7', 'rates': LOW},
    'ema': {'freeze': 'full+ema:0.9', 'rates': LOW},
    'wise_ft': {'freeze': 'full+wise_ft', 'rates': LOW},
    'pretrained': {'baseline': 'pretrained'},
}
CLAIMS = (
    ('difference', 'blocks:20%-80%', 'lora:8'),
    ('difference', 'blocks:20%-80%', 'lora:8,all'),
    ('difference', 'lora:8, 20%-80%', 'lora:8'),
    ('difference', 'mlp_in', 'attention_proj'),
    ('difference', 'mlp_in', 'lora:8,all'),
    ('difference', 'mlp_in', 'full'),
)
# What is lost beside full: the table tells it beside the network before training.
AGAINST_FULL = tuple(
    ('difference', arm, 'full')
    for arm in ('head', 'l2_sp', 'wise_ft', 'ema', 'blocks:20%-80%', 'lora:8', 'lora:8,all')
)
REDUCED = (
    'Reduced: 200 sentences to train, 200 to choose the rate, 400 to test, as many of each class, '
    'others with each seed; 3 epochs of batches of 25; 3 rates an arm, tried with the first of '
    'five seeds, and up to two more for all arms while the best of any is the highest or lowest. '
    'The grids were raised once, by validation, after the first six arms had shown their best at '
    'the highest rate; rows of lower rates stand in the folder and do not count.',
    'Retention is measured on 207 of the 1,725 test pairs of MRPC, others with each seed, by the '
    'cosine of vectors that are means over tokens; labels are 0 and 1, so that the correlation '
    'stays well below 1 for the best vectors too.',
    'A step is priced as it runs: where the lower part is frozen and its outputs are stored (head, '
    'last:k), without that part, which runs once for all epochs. Times were taken beside other '
    'work and tell little; FLOPs do not depend on it.',
    'blocks:20%-80% are blocks 1 to 3 of 0 to 5; lora:8, 20%-80% has adapters in these alone. LoRA '
    'has alpha 16 in all arms. The head of `pretrained` is new, its test score that of random '
    'weights.',
)


def get_config():
    config = sst2()
    config.init = '$FTJAX_MINILM'
    config.data.examples_per_class = 100
    config.data.val_per_class, config.data.test_per_class = 100, 200
    config.train.eval_every = 3.0
    config.train.steps_per_call = 1  # a step takes a second: fewer programs are compiled
    config.ablation = ConfigDict(
        {
            'question': 'What should learn in an encoder, and which meaning is lost?',
            'arms': ARMS,
            'rates': LOW,
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 1,
            'reference': 'full',
            'also_evaluate': {'paraphrases': PARAPHRASES},
            'retention': 'paraphrases',
            'retention_metric': 'spearman',
            # Two claims, told whichever way they fall: the middle of a network against LoRA
            # (arXiv:2604.11838), and gate & up against everything (arXiv:2510.08564).
            'gates': CLAIMS,
            'retention_gates': CLAIMS + AGAINST_FULL,
            'max_extra': 2,
            'notes': REDUCED,
        },
        convert_dict=False,
    )
    return config
