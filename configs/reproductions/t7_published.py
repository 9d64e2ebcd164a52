"""T7 as published: one rate and one head for all arms, which learn MRPC, CoLA, SST-2 in turn.

FTJAX_DATA=DATA FTJAX_MINILM=MINILM bash scripts/reproduce.sh T7_PUBLISHED
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
        },
        convert_dict=False,
    )
    return config
