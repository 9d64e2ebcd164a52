"""What a run leaves and is told: rows, locks, results, manifests, init strings."""

from __future__ import annotations

import json
import os
import pathlib
import random
from collections.abc import Iterator

import numpy as np
from fuzzing_inputs import edits

from ftjax.data.settings import DataSettings


def read_rows(folder: pathlib.Path, text: str) -> None:
    """A row of a JSONL file, after a good one."""
    from ftjax.data.load import read_source

    file = folder / 'rows.jsonl'
    first = json.dumps({'text': 'good', 'label': 'a'})
    file.write_text(f'{first}\n{text}\n')
    read_source(DataSettings(source=f'jsonl:{file}', test_fraction=0.5))


def read_lock(folder: pathlib.Path, text: str) -> None:
    """What a lock says of its owner."""
    from ftjax.io.files import lock

    # An owner on another machine is watched for two minutes: here nobody waits for a sign.
    lock.STALE = 0.01
    place = folder / 'locked'
    place.mkdir(exist_ok=True)
    (place / '.lock').write_text(text[:8000])
    with lock.run_lock(place):
        pass


def read_result(folder: pathlib.Path, text: str) -> None:
    """result.json of a run that is finished."""
    from ftjax.io.json.stored_fields import RESULT, read_result
    from ftjax.tasks.metrics_text import metrics_text

    (folder / 'result.json').write_text(text)
    file = folder / 'result.json'
    result = read_result(file, tuple(set(RESULT) - {'versions', 'provenance', 'steps'}))
    metrics_text(result['metrics'], f'{file}: metrics')


def read_ablation(folder: pathlib.Path, text: str) -> None:
    """ablation.json of a folder that is used again."""
    from ftjax.ablation.grid.claim import claim
    from ftjax.ablation.settings import AblationSettings

    (folder / 'ablation.json').write_text(text)
    claim(folder, AblationSettings(arms={'head': 'head'}, rates=(1.0,)), {})


def manifest_inputs(draw: random.Random) -> Iterator[str]:
    """Manifests of a checkpoint, with a hash that agrees where it can be computed."""
    from ftjax.io.files.saved_step import make_manifest
    from ftjax.io.json.tree_json import array_hash, json_hash, pack

    tree = {'params': {'head/kernel': np.zeros(2)}, 'trainable': {'head/kernel': np.zeros(2)}}
    progress = {'best': {'step': 3}, 'history': []}
    items, hashes = {}, {}
    for name, item in {'state': tree, 'progress': progress}.items():
        items[name], arrays = pack(item)
        hashes[name] = {number: array_hash(array) for number, array in arrays.items()}
    manifest = make_manifest(3, items, hashes)
    del manifest['sha256']
    for text in edits([manifest], draw):
        try:
            body = json.loads(text)
            hashed = {**body, 'sha256': json_hash(body)} if isinstance(body, dict) else None
            yield text if hashed is None else json.dumps(hashed)
        except (ValueError, RecursionError):
            yield text


def read_manifest(folder: pathlib.Path, text: str) -> None:
    """A run's checkpoints."""
    from ftjax.io.files.saved_step import MANIFEST
    from ftjax.pretrained import run_checkpoint

    place = folder / 'checkpoints'
    file = place / '3' / MANIFEST
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    found = run_checkpoint.find(place)
    assert found is not None
    run_checkpoint.RunSource(found)


def init_inputs(draw: random.Random) -> Iterator[str]:
    """Strings for config.init."""
    parts = [
        '~',
        '~nosuchuser',
        '/',
        '..',
        'x' * 10_000,
        '\0',
        '$',
        '${',
        '$HOME',
        '$NOPE',
        'glyphs',
    ]
    parts += ['hf://', 'data:', 'random:', '@', 'checkpoints', 'é', '\n', '\ud800', '[', '*', '%s']
    yield from parts
    while True:
        yield ''.join(draw.choice((*parts, '/')) for _ in range(draw.randint(1, 5)))


def read_init(folder: pathlib.Path, init: str) -> None:
    """What an init string names, without asking the hub."""
    from ftjax.pretrained.locate.locate import locate

    before = os.environ.get('HF_HUB_OFFLINE')
    os.environ['HF_HUB_OFFLINE'] = '1'
    try:
        if not init.startswith('hf://'):
            locate(init)
    finally:
        del os.environ['HF_HUB_OFFLINE']
        if before is not None:
            os.environ['HF_HUB_OFFLINE'] = before
