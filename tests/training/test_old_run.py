"""Run folders that earlier versions wrote open and go on.

old_run: its only checkpoint is of step 4 of 6. old_best, made by make_old_run.py: checkpoints of
steps 4, the best, 8 and 10 of 12.
"""

import hashlib
import json
import pathlib
import shutil
import tarfile

import jax
import numpy as np
import pytest

from ftjax.config import read_config
from ftjax.io.files.saved_step import restored, steps_in
from ftjax.io.json.jsonl import read_jsonl
from ftjax.pretrained.open import load_pretrained
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.training.checkpoints.checkpoints import Checkpoints

ARCHIVE = pathlib.Path(__file__).with_name('old_run.tar.xz')
ITEMS = 'e25283faeb93ae7d544523e7aeae64d0defaf2de7e5549ec1fef276c3dda817e'
"""As the version that wrote it read them."""
LOSS = 2.301655375515973
"""Of its validation after step 6, when that version went on from this folder."""


def unpacked(archive, folder):
    with tarfile.open(archive) as files:
        files.extractall(folder, filter='data')
    return folder / 'old'


@pytest.fixture
def old(tmp_path):
    return unpacked(ARCHIVE, tmp_path)


def test_its_checkpoint_is_read_to_the_bit(old):
    saved = restored(old / 'checkpoints')
    assert saved.step == 4 and not saved.problems
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(saved.items)[0]:
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(leaf.tobytes() if isinstance(leaf, np.ndarray) else repr(leaf).encode())
    assert digest.hexdigest() == ITEMS


def test_its_run_goes_on_as_from_a_checkpoint_of_today(old, tmp_path):
    today = shutil.copytree(old, tmp_path / 'today')
    with Checkpoints(today / 'checkpoints') as checkpoints:
        found = checkpoints.restore(4)
        checkpoints.save(4, found.items, identity=found.identity)
    config = read_config(json.loads((old / 'config.json').read_text()))
    one, two = (train(prepare(config), folder, progress=False)[0] for folder in (old, today))
    leaves = zip(jax.tree.leaves(one.variables), jax.tree.leaves(two.variables), strict=True)
    assert all(np.array_equal(a, b) for a, b in leaves)
    rows = [read_jsonl(folder / 'metrics.jsonl') for folder in (old, today)]
    assert rows[0] == rows[1] and [row['step'] for row in rows[0]] == [2, 4, 6]
    assert rows[0][-1]['val_loss'] == pytest.approx(LOSS, abs=1e-5)


def test_its_checkpoint_begins_another_run(old):
    loaded = load_pretrained(str(old / 'checkpoints'))
    trained = restored(old / 'checkpoints').items['state']['trainable']
    kernel = loaded.variables['params']['head']['dense']['kernel']
    assert np.array_equal(kernel, trained['head/dense/kernel'])


def test_its_best_checkpoint_begins_another_run_and_stays_when_it_goes_on(tmp_path):
    old = unpacked(ARCHIVE.with_name('old_best.tar.xz'), tmp_path)
    found = load_pretrained(str(old / 'checkpoints'))
    assert found.report.source == str(old / 'checkpoints' / '4')
    trained = restored(old / 'checkpoints', 4).items['state']['trainable']
    kernel = found.variables['params']['head']['dense']['kernel']
    assert np.array_equal(kernel, trained['head/dense/kernel'])
    rows = read_jsonl(old / 'metrics.jsonl')
    config = read_config(json.loads((old / 'config.json').read_text()))
    result, _ = train(prepare(config), old, progress=False)
    assert read_jsonl(old / 'metrics.jsonl')[:5] == rows and result.steps == 12
    assert steps_in(old / 'checkpoints') == (*([4] if result.best_step == 4 else []), 10, 12)
    assert result.best_step in (4, 12)
