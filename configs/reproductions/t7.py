"""T7: what MiniLM forgets of MRPC, CoLA, TREC while it learns them and SST-2 in turn.

    FTJAX_DATA=DATA FTJAX_MINILM=MINILM bash scripts/reproduce.sh T7

MINILM is a folder with MiniLM (L6 H384, BERT's layout) and its tokenizer.json; DATA the optional
data folder, with the texts. Published (arXiv:2603.27707, BERT-base on RTE, MRPC, CoLA, SST-2, five
seeds; average forgetting in points): full 19.9 +- 4.8, LoRA (r 8, q and v) .6 +- 1.4, EWC 15.5 +-
1.4. Measured (five seeds): full 3.2 [.3, 6.2], LoRA 4.9 [1.9, 7.9], EWC 3.1 [.5, 5.8], the last two
blocks 12.0 [8.8, 15.2], LoRA everywhere 10.8 [5.5, 16.0]. Two gates fail and one is undecided: with
own rates and heads the published order is not there (t7_published.py has it, by the published
protocol). This size is a weak test, since little of MRPC and CoLA is learned. 4.3 hours of one core
in all, on two busy ones; it goes on where it was stopped. Results: results/reproductions/t7. A try
with the shipped encoder in minutes: --config.init=docstrings --config.data.examples_per_class=4
--config.train.epochs=1.0.
"""

from ml_collections import ConfigDict

from ftjax.config import template

QUESTIONS = ('description', 'entity', 'abbreviation', 'human', 'location', 'number')
TEXT = 'csv:$FTJAX_DATA/text'
# One network, one head a task, in this order. What is not named is as in the config below.
TASKS = {
    'MRPC': {
        'data.source': f'{TEXT}/mrpc',
        'data.train_file': 'msr_paraphrase_train.txt',
        'data.test_file': 'msr_paraphrase_test.txt',
        'data.label_column': 'Quality',
        'data.text_column': '#1 String',
        'data.text_pair_column': '#2 String',
        'data.quoting': 'none',
        'data.delimiter': '\t',
        'data.encoding': 'utf-8-sig',
        'data.max_length': 64,
        'data.test_per_class': 120,
    },
    'CoLA': {
        'data.source': f'{TEXT}/cola',
        'data.train_file': 'train.tsv',
        'data.test_file': 'dev.tsv',
        'data.layout': 'label_last',
        'data.class_names': ('unacceptable', 'acceptable'),
        'data.max_length': 24,
        'data.test_per_class': 150,
    },
    'TREC': {
        'data.source': f'{TEXT}/trec',
        'data.train_file': 'TREC.train.all',
        'data.test_file': 'TREC.test.all',
        'data.layout': 'label_first',
        'data.delimiter': ' ',
        'data.encoding': 'latin-1',
        'data.class_names': QUESTIONS,
        'data.max_length': 24,
        'data.examples_per_class': 40,
        'data.val_per_class': 18,
    },
    'SST-2': {
        'data.source': f'{TEXT}/sst2',
        'data.layout': 'label_last',
        'data.class_names': ('negative', 'positive'),
        'data.max_length': 40,
        'data.test_per_class': 200,
    },
}
REDUCED = (
    'Other than published: MiniLM (6 blocks) instead of BERT-base, TREC instead of RTE and in '
    'another place of the order; numbers compare by order only.',
    'Reduced: 200 training examples of each task (TREC: 240), 120 (TREC: 108) to choose the rate, '
    'as many of each class, others with each seed; 240 (MRPC), 300 (CoLA) and 400 (SST-2) to test, '
    'as many of each class, and all 500 of TREC; texts cut at 64 (MRPC), 40 (SST-2) or 24 tokens; '
    '3 epochs of batches of 16.',
    'Changed after first runs of the first seed, which is reported too, by what they took and by '
    'validation: sizes, three times; the rates of most arms, once, and of four arms, whose best '
    'was the highest or lowest, once more; and the arm last:4 was left out, which had not run.',
    'Reduced: 3 rates an arm, tried with the first of five seeds, and one more for all arms '
    'while the best of any is the highest or lowest.',
    'All tasks are measured by accuracy, CoLA too, whose own measure is the correlation of '
    'Matthews. A head is frozen from the end of its own task on, so that what is forgotten is what '
    'the trunk lost.',
    'The score of a run, test accuracy, is the mean over the tasks after the last one. Rates are '
    'chosen by the mean of each task as it was learned: what is forgotten later does not count.',
    'A weak test of what was published: just after its own task full has 60 % (MRPC; the head '
    'alone 59), 52 % (CoLA; chance is 50) and 79 % (TREC). At the end full has lost 5 points of '
    'MRPC, 3 of CoLA and 2 of TREC, lora:8 2, 1 and 12, last:2 9, 2 and 25.',
    'Forgetting goes with the rate: full with the first seed forgets 2 points at 3e-5 and 11 at '
    '3e-4. Validation told neighbouring rates apart by 1 to 2 points of 468 examples, about one '
    'standard error: differences between arms are in part those of their rates.',
    '"By a wide margin" is judged as above 0.',
    'The published gap was measured at one rate for all arms, at which LoRA had learned nothing, '
    'and with one head for all tasks. By that protocol it is there (t7_published); here each arm '
    'has its own rate, each task its own head, and classes are equally frequent.',
    'EWC has one strength, 1000, of those that may do better; as published it was swept.',
    'l2_sp and ewc pull to the weights that a task began with; wise_ft averages with them.',
)


def get_config():
    config = template(
        init='$FTJAX_MINILM',
        # The mean over tokens: a pooler is trained only if sentence pairs were pretrained on.
        model={'pool': 'mean'},
        data={
            'source': f'{TEXT}/sst2',
            'examples_per_class': 100,
            'val_per_class': 60,
            'batch_size': 16,
            'eval_batch_size': 64,
        },
        optimizer={
            'name': 'adamw',
            'learning_rate': 1e-4,
            'weight_decay': 0.01,
            'clip_norm': 1.0,
        },
        train={'epochs': 3.0, 'eval_every': 3.0, 'keep': 'last', 'steps_per_call': 1},
    )
    # Fewer or smaller weights that move take higher rates.
    slow, upper, head = (1e-4, 3e-4, 1e-3), (3e-4, 1e-3, 3e-3), (1e-2, 3e-2, 1e-1)
    lora, lora_all = (2e-3, 5e-3, 1.5e-2), (7e-4, 2e-3, 5e-3)
    config.ablation = ConfigDict(
        {
            'question': 'What does a network forget of earlier tasks, by what trains?',
            'arms': {
                'full': 'full',
                'head': {'freeze': 'head', 'rates': head},
                'last:1': {'freeze': 'last:1', 'rates': upper},
                'last:2': {'freeze': 'last:2', 'rates': upper},
                'gradual': {'freeze': 'gradual:0.25', 'rates': slow},
                'lora:8': {'freeze': 'lora:8', 'rates': lora},
                'lora:8,all': {'freeze': 'lora:8,all', 'rates': lora_all},
                'l2_sp': {'freeze': 'full+l2_sp:0.1', 'rates': slow},
                'ewc': 'full+ewc:1000,64',
                'wise_ft': 'full+wise_ft',
            },
            'tasks': TASKS,
            'sequence': tuple(TASKS),
            # Published: gradual unfreezing does not help. That is reported, and is no gate.
            # From all trained to .3 % trained; "most past 95 %" is the step from last:1 (8 %).
            'forgetting_gates': (
                ('above', 'lora:8', 'full'),
                ('rises', 'full', 'last:2', 'last:1', 'lora:8'),
                ('last_step_largest', 'full', 'last:2', 'last:1', 'lora:8'),
                ('difference', 'gradual', 'full'),
                ('difference', 'l2_sp', 'full'),
                ('difference', 'ewc', 'full'),
                ('difference', 'wise_ft', 'full'),
            ),
            'rates': (3e-5, 1e-4, 3e-4),
            'seeds': (0, 1, 2, 3, 4),
            'tuning_seeds': 1,
            'reference': 'full',
            'max_extra': 1,
            'notes': REDUCED,
        },
        convert_dict=False,
    )
    return config
