"""Tiny runs of tasks that answer with more than a class, and their bundles."""

import csv
import json
import types

import numpy as np
from PIL import Image

from ftjax.api import finetune
from ftjax.config import read_config
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.serving.making.write_bundle import write_bundle

BERT = {'name': 'bert', 'vocab_size': 128, 'width': 16, 'depth': 1, 'heads': 2, 'mlp_dim': 16}
BERT |= {'max_positions': 16, 'dropout': 0.0}
WORDS = ('red', 'blue', 'green', 'black', 'white', 'grey', 'pink', 'brown')


def made(folder, task, rows, model=BERT, new_tokens=8, **data):
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
    bundle = write_bundle(folder / 'run', folder / 'bundle', new_tokens=new_tokens)
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


def sentence(rng, longest=5):
    return ' '.join(rng.choice(WORDS, rng.integers(1, longest)))


def vectors(folder):
    """Pairs of texts that belong together."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(60):
        one = sentence(rng)
        rows.append({'anchor': f'what is {one}', 'positive': one})
    return made(folder, 'embedding', rows, {**BERT, 'pool': 'mean'})


def cosine(folder):
    """Pairs of texts with a score."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(60):
        pair = {'sentence1': sentence(rng), 'sentence2': sentence(rng)}
        rows.append({**pair, 'score': float(rng.random())})
    return made(folder, 'text_similarity', rows, {**BERT, 'pool': 'mean'})


def choice(folder):
    """Texts with three choices."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(60):
        choices = [sentence(rng) for _ in range(3)]
        rows.append({'prompt': sentence(rng), 'choices': choices, 'label': int(rng.integers(3))})
    return made(folder, 'multiple_choice', rows)


def order(folder):
    """Queries with two to four candidates."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(60):
        candidates = [sentence(rng) for _ in range(rng.integers(2, 5))]
        relevance = [int(each) for each in rng.integers(0, 2, len(candidates))]
        rows.append({'query': sentence(rng), 'candidates': candidates, 'relevance': relevance})
    return made(folder, 'text_ranking', rows)


DECODER = {'name': 'gpt2', 'width': 16, 'depth': 2, 'heads': 2, 'max_positions': 32}


def texts(folder):
    """Prompts with completions."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(40):
        rows.append({'prompt': f'{sentence(rng)} is', 'completion': f' {sentence(rng)}'})
    model = {**DECODER, 'vocab_size': 300, 'head': 'lm', 'dropout': 0.0}
    return made(folder, 'causal_lm', rows, model, tokenizer='bytes:300', max_length=32)


VIT = {'name': 'vit', 'image_size': 16, 'patch_size': 4, 'width': 16, 'depth': 1, 'heads': 2}
VIT |= {'mlp_dim': 16, 'head': 'linear', 'pool': 'mean'}
SIZES = ((20, 24), (16, 16), (12, 30), (31, 17), (18, 18), (20, 20))


def masks(folder, **data):
    """Images of several sizes and shades with a mask each."""
    draw, root = np.random.default_rng(0), folder / 'pictures'
    for split in ('train', 'val', 'test'):
        for number, (rows, columns) in enumerate(SIZES):
            mask = draw.integers(0, 3, (rows // 4 + 1, columns // 4 + 1)).repeat(4, 0).repeat(4, 1)
            mask = mask[:rows, :columns].astype(np.uint8)
            image = 80 * mask[..., None] + draw.integers(0, 60, (rows, columns, 3))
            for below, pixels in (('images', image), ('masks', mask)):
                path = root / split / below
                path.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path / f'{number}.png')
    data = {'source': f'masks:{root}', 'image_size': (16, 16), 'batch_size': 2, **data}
    data |= {'eval_batch_size': 4, 'palette': ('#102030', '#ff0000', '#00ff00')}
    return made(folder, 'segmentation', [], VIT, **data)


def windows(folder):
    """As `masks`, answered by windows that slide over the images."""
    return masks(folder, sliding=0.25)


def values(folder, keep='best', **data):
    """Rows of a table with gaps and a category, and one value a row."""
    random = np.random.default_rng(0)
    with open(folder / 'rows.csv', 'w', newline='') as file:
        write = csv.writer(file)
        write.writerow(['age', 'town', 'label'])
        for number in range(120):
            age, town = random.normal(40, 10), random.choice(['Bonn', 'Ulm', 'Rom'])
            shown = f'{age:.2f}' if number % 10 else ''
            write.writerow([shown, town, age / 10 + (town == 'Ulm')])
    finetune(
        '',
        f'csv:{folder / "rows.csv"}',
        model={'name': 'mlp', 'width': 8, 'depth': 1},
        train={'steps': 3, 'keep': keep},
        data={
            'task': 'regression',
            'features': ['age', 'town'],
            'label_column': 'label',
            'missing': {'age': 'median'},
            'batch_size': 8,
            **data,
        },
    ).fit(folder / 'run', progress=False)
    bundle = write_bundle(folder / 'run', folder / 'bundle')
    return types.SimpleNamespace(run=folder / 'run', bundle=bundle)
