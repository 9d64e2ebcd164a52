"""Tiny runs of tasks that answer with more than a class, and their bundles."""

import json
import types

import numpy as np

from ftjax.config import read_config
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.serving.making.write_bundle import write_bundle

BERT = {'name': 'bert', 'vocab_size': 128, 'width': 16, 'depth': 1, 'heads': 2, 'mlp_dim': 16}
BERT |= {'max_positions': 16, 'dropout': 0.0}
WORDS = ('red', 'blue', 'green', 'black', 'white', 'grey', 'pink', 'brown')


def made(folder, task, rows, model=BERT, **data):
    """A run of two steps on rows, as a JSONL file, or on another source; and its bundle."""
    source = data.pop('source', '')
    if rows:
        (folder / 'all.jsonl').write_text('\n'.join(map(json.dumps, rows)))
        source = f'jsonl:{folder / "all.jsonl"}'
        data = {'tokenizer': 'wordpiece:128', 'max_length': 16, **data}
    config = {
        'init': '',
        'model': model,
        'data': {
            'source': source,
            'task': task,
            'batch_size': 8,
            'eval_batch_size': 16,
            'val_fraction': 0.2,
            'test_fraction': 0.2,
            **data,
        },
        'optimizer': {'learning_rate': 1e-2},
        'train': {'steps': 2, 'steps_per_call': 1, 'report': False},
    }
    train(prepare(read_config(config)), folder / 'run', progress=False)
    bundle = write_bundle(folder / 'run', folder / 'bundle', command='python export')
    return types.SimpleNamespace(run=folder / 'run', bundle=bundle)


def tags(folder):
    """Sentences with a tag for each word, one of them several windows long."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(60):
        words = [str(word) for word in rng.choice(WORDS, rng.integers(1, 6))]
        tags = ['B-DARK' if word in WORDS[3:6] else 'O' for word in words]
        rows.append({'words': words, 'tags': tags})
    for row in rows[::10]:
        row |= {name: values * 8 for name, values in row.items()}
    rows[1] = {'words': ['black', 'blue'], 'tags': ['B-DARK', 'I-DARK']}
    return made(folder, 'token_classification', rows)
