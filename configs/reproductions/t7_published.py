"""T7 with one rate and one head for all arms, as published: MRPC, CoLA, SST-2 in turn.

    FTJAX_DATA=DATA FTJAX_MINILM=MINILM bash scripts/reproduce.sh T7_PUBLISHED

The published gap (arXiv:2603.27707, BERT-base on RTE, MRPC, CoLA, SST-2: full forgets 19.9 points,
LoRA .6) was measured at one rate for all arms, 2e-5, with one head of two classes for all tasks, on
classes as frequent as they are (the authors' repository,
mr-ashish-panday/LoRA-Eliminates-Forgetting: phase7_multitask_sequential.py,
logs/phase7_extended_v2.log). There full had, just after each task, 84 to 86 % of MRPC and 82 to 83
% of CoLA. LoRA had 68.4 to 68.9 and 69.6 to 70.1 %, where always the larger class gives 68.4 and
69.1, 42 to 54 % of RTE and 51 to 52 % of SST-2, where chance is near 50: at this rate it had
learned nothing.

Measured here by the same protocol in small (MiniLM, three tasks, the rate that T7 chose for full,
five seeds): full forgets 21.0 points [12.8, 29.1], the last two blocks 15.2, the last one 10.7,
LoRA 0.0 [-.1, .2]. LoRA learns nothing at this rate (SST-2 50 %) and goes on answering the larger
class. Nor is it learning that the others lose: full is 1.7 points above the larger class before,
and falls 19 below it, since SST-2 teaches it other frequencies. At the rate that T7 chose for it
LoRA learns SST-2 (78 %) and forgets 18.7 points [15.6, 21.9], not significantly less than full; the
last block alone 21.6. 2.3 hours of one core in all. Results: results/reproductions/t7_published.
"""

from ml_collections import ConfigDict

from ftjax.config import template

TEXT = 'csv:$FTJAX_DATA/text'
TASKS = {
    'MRPC': {
        'data.source': f'{TEXT}/mrpc/msr_paraphrase_train.txt',
        'data.test_fraction': 0.12,
        'data.label_column': 'Quality',
        'data.text_column': '#1 String',
        'data.text_pair_column': '#2 String',
        'data.quoting': 'none',
        'data.delimiter': '\t',
        'data.encoding': 'utf-8-sig',
        'data.max_length': 64,
        'train.steps': 150,
    },
    'CoLA': {
        'data.source': f'{TEXT}/cola',
        'data.train_file': 'train.tsv',
        'data.test_file': 'dev.tsv',
        'data.layout': 'label_last',
        'data.class_names': ('unacceptable', 'acceptable'),
        'data.max_length': 24,
        'train.steps': 225,
    },
    'SST-2': {
        'data.source': f'{TEXT}/sst2',
        'data.layout': 'label_last',
        'data.class_names': ('negative', 'positive'),
        'data.max_length': 40,
        'data.val_per_class': 60,
        'data.test_per_class': 200,
        'train.steps': 100,
    },
}
REDUCED = (
    'The published protocol (one rate, one head, classes as frequent as they are), in small: '
    'MiniLM (6 blocks) for BERT-base, 1e-4 as the one rate for 2e-5, RTE left out (not at '
    'hand); 150, 225 and 100 steps of 16 examples, fewer than an epoch, for three epochs. A '
    'held-out 12 % of the training file tests MRPC. Numbers compare by order only.',
    'Always the larger class gives 67.5 % of MRPC and 68.6 % of CoLA, 68.0 % on their mean, and '
    '50 % of SST-2. Just after the task full has 71, 69 and 81 %, lora:8 67, 69 and 50 %. CoLA '
    'is learned by no arm, MRPC a little. So arms lose class frequencies more than skills: of '
    'the 21.0 points of full 1.7 lie above always answering the larger class. As published full '
    'had more to lose: 13 to 17 points above it.',
    'Forgetting goes with how well the last task, of equal classes, was learned: at one rate '
    'SST-2 81, 79, 73 and 50 % with 21, 15, 11 and 0 points forgotten (full, last:2, last:1, '
    'lora:8).',
    'The arms "own rate" have the rates that T7 chose by validation, rounded (1e-3 and 3e-3); '
    'no other was tried here. With them the last block and LoRA forget not significantly less '
    'than full: at one rate the frozen share and the rate cannot be told apart.',
    'The score of a run is the mean over the three tasks at the end; three constant answers '
    'have 62.0 %.',
    'One head learns on through all tasks: what is forgotten is what head and trunk lost together.',
    'Published, and reported only: gradual unfreezing does not help. An arm gradual:0.25, which '
    'counts in epochs and never came below the upper blocks in these short runs, was replaced '
    'by gradual_steps after its rows were seen; no gate that can fail names either.',
    'The pilot that chose sizes used seed 7, which is not among the five.',
)


def get_config():
    config = template(
        init='$FTJAX_MINILM',
        model={'pool': 'mean'},
        data={
            'source': f'{TEXT}/sst2',
            'val_fraction': 0.03,
            'batch_size': 16,
            'eval_batch_size': 64,
        },
        optimizer={
            'name': 'adamw',
            'learning_rate': 1e-4,
            'weight_decay': 0.01,
            'clip_norm': 1.0,
        },
        schedule={'name': 'linear'},
        train={'steps': 100, 'eval_every': 3.0, 'keep': 'last', 'steps_per_call': 1},
    )
    config.ablation = ConfigDict(
        {
            'question': 'What is forgotten with one rate for all arms?',
            'arms': {
                'full': 'full',
                'last:2': 'last:2',
                'last:1': 'last:1',
                'head': 'head',
                'lora:8': 'lora:8',
                'gradual_steps': 'gradual_steps',
                'last:1, own rate': {'freeze': 'last:1', 'rates': (1e-3,)},
                'lora:8, own rate': {'freeze': 'lora:8', 'rates': (3e-3,)},
            },
            'tasks': TASKS,
            'sequence': tuple(TASKS),
            'sequence_head': 'shared',
            'forgetting_gates': (
                ('above', 'lora:8', 'full'),
                ('rises', 'full', 'last:2', 'last:1', 'lora:8'),
                ('last_step_largest', 'full', 'last:2', 'last:1', 'lora:8'),
                ('difference', 'gradual_steps', 'full'),
                ('difference', 'lora:8, own rate', 'full'),
                ('difference', 'lora:8, own rate', 'lora:8'),
                ('difference', 'last:1, own rate', 'last:1'),
            ),
            'rates': (1e-4,),
            'seeds': (0, 1, 2, 3, 4),
            'reference': 'full',
            'max_extra': 0,
            'notes': REDUCED,
        },
        convert_dict=False,
    )
    return config
