"""T4: the depth curve and the ULMFiT ladder on questions (TREC, 6 classes), with MiniLM.

    FTJAX_DATA=FOLDER FTJAX_MINILM=FOLDER bash scripts/reproduce.sh T4

FOLDER holds MiniLM (L6 H384, BERT's layout) with its tokenizer.json; the questions need the
data folder (environment variable FTJAX_DATA). About an hour of one idle core. Published: Howard
and Ruder 2018 (ULMFiT, table 7, TREC-6 error): full 6.86, full + discriminative 6.21, last
16.09, chain-thaw 6.71, gradual 6.86, gradual + discriminative 5.86, gradual + stlr 6.02, all
three 5.69; He et al. 2022 (MAE, figure 9): quality by the number of trained blocks.
Measured, test accuracy (%): head 74.3, last:1 85.9, last:2 86.7, last:3 89.4, full 88.5; the
curve rises and head is the worst arm; five seeds leave undecided where the curve saturates and
which step is largest, and no difference of the ladder is significant. Results:
results/reproductions/t4.
"""

from ml_collections import ConfigDict

from ftjax.config import template

CLASSES = ('description', 'entity', 'abbreviation', 'human', 'location', 'number')
DEPTHS = ('head', 'last:1', 'last:2', 'last:3', 'full')
# ULMFiT opens a group an epoch. Here it is one each quarter of an epoch, so that the embeddings
# and all 6 blocks are open for the second half of 4 epochs.
GRADUAL = 'gradual:0.25'
REDUCED = (
    'Mapping: what ULMFiT calls `last` (its last layer group alone) is the arm head here; '
    'last:k is that of MAE, the last k of 6 blocks and the head.',
    'Reduced: MiniLM, a Transformer of 6 blocks, instead of an LSTM of 3 layers whose language '
    'model was first trained on the task; numbers compare by order only.',
    'Reduced: 450 training questions (75 a class, others with each seed) of 5,452, 273 to '
    'choose the rate, all 500 to test; 4 epochs instead of up to 50; questions cut at 32 '
    'tokens (3 in 1,000 are longer).',
    'Reduced: 5 seeds; 3 rates an arm, tried with the first two, and up to 2 more for all arms '
    'while the best of any is the highest or lowest.',
    'Reduced: gradual opens a group each quarter of an epoch instead of each epoch; chain_thaw '
    'gives its parts equally many steps instead of training each to convergence.',
    'Not run: the arm from random weights. `worst` is among pretrained arms.',
)


def get_config():
    config = template(
        init='$FTJAX_MINILM',
        model={'pool': 'mean'},
        data={
            'source': 'csv:$FTJAX_DATA/text/trec',
            'train_file': 'TREC.train.all',
            'test_file': 'TREC.test.all',
            'layout': 'label_first',
            'delimiter': ' ',
            'encoding': 'latin-1',
            'class_names': CLASSES,
            'val_fraction': 0.05,
            'examples_per_class': 75,
            'max_length': 32,
            'batch_size': 37,
            'eval_batch_size': 100,
        },
        optimizer={
            'name': 'adamw',
            'learning_rate': 2e-4,
            'weight_decay': 0.01,
            'clip_norm': 1.0,
        },
        # 12 steps an epoch, so that gradual opens a group every 3.
        train={'epochs': 4.0, 'eval_every': 4.0, 'keep': 'last', 'steps_per_call': 6},
    )
    # Fewer or smaller weights that move take higher rates; chain_thaw's is that of the head,
    # a tenth of it goes to the rest.
    upper, head, chain = (1e-3, 3e-3, 1e-2), (1e-2, 3e-2, 1e-1), (3e-3, 1e-2, 3e-2)
    config.ablation = ConfigDict(
        {
            'question': 'How deep, and in what order, should MiniLM learn to class questions?',
            'arms': {
                'full': 'full',
                'head': {'freeze': 'head', 'rates': head},
                'last:1': {'freeze': 'last:1', 'rates': upper},
                'last:2': {'freeze': 'last:2', 'rates': upper},
                'last:3': {'freeze': 'last:3', 'rates': (3e-4, 1e-3, 3e-3)},
                'gradual': GRADUAL,
                'gradual+discriminative+stlr': {
                    'freeze': f'{GRADUAL}+discriminative+stlr',
                    'rates': upper,
                },
                'discriminative': {'freeze': 'full+discriminative', 'rates': upper},
                'gradual+discriminative': {
                    'freeze': f'{GRADUAL}+discriminative',
                    'rates': upper,
                },
                'gradual+stlr': f'{GRADUAL}+stlr',
                'chain_thaw': {'freeze': 'chain_thaw', 'rates': chain},
            },
            'rates': (1e-4, 3e-4, 1e-3),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 2,
            'reference': 'full',
            'max_extra': 2,
            'notes': REDUCED,
            'gates': (
                ('rises', *DEPTHS),
                ('saturates', *DEPTHS),
                ('first_step_largest', *DEPTHS),
                ('worst', 'head'),
                ('difference', 'gradual', 'full'),
                ('difference', 'gradual+discriminative+stlr', 'full'),
            ),
        },
        convert_dict=False,
    )
    return config
