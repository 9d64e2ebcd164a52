"""Label errors are looked for in the features that a run stores, and before the next one."""

import dataclasses
import logging

import numpy as np
from tiny_runs import shades, splits

from ftjax.config import read_config
from ftjax.runs.before_training.feature_audit import feature_audit
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.training.feature_cache import store

MODEL = {'name': 'vit', 'image_size': 8, 'patch_size': 4, 'width': 8, 'depth': 2, 'heads': 2}
WRONG = np.arange(0, 90, 15)


def made(folder, **settings):
    """A run on images of three shades, of which some have the label of another."""
    data = splits(shades, 90, 24, 9)
    labels = np.array(data.train.labels)
    labels[WRONG] = (labels[WRONG] + 1) % 3
    data = dataclasses.replace(data, train=dataclasses.replace(data.train, labels=labels))
    given = {'steps': 2, 'cache': 'on', 'cache_folder': str(folder), **settings}
    values = {'init': '', 'model': MODEL, 'freeze': 'last:2', 'train': given}
    return prepare(read_config(values), data)


def test_label_errors_are_looked_for_in_stored_features(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    store.forget()
    first = made(tmp_path)
    assert feature_audit(first) == ()  # nothing is stored yet
    _, result = train(first, tmp_path / 'run', progress=False)
    told = {one['check']: one for one in result['audit']['findings']}['label errors']
    assert told['count'] >= 1 and 'likely wrong' in told['message']
    ids = {f'train {first.data.train.ids[i]}' for i in WRONG}
    assert ids >= {*told['examples']}  # none but planted ones
    assert f'note: {told["message"]}' in caplog.text
    (before,) = [one for one in feature_audit(made(tmp_path)) if one.check == 'label errors']
    assert before.message == told['message']  # of another run, from what is stored
    store.forget()
    assert feature_audit(made(tmp_path)) == ()  # they were in memory, and are no longer


def test_features_in_files_are_found_by_the_next_process(tmp_path):
    first = made(tmp_path, cache_bytes=0)
    train(first, progress=False)
    store.forget()
    found = feature_audit(made(tmp_path, cache_bytes=0))
    assert [one.message for one in found] == [one.message for one in feature_audit(first)] != []
    for file in tmp_path.glob('*/0.npy'):
        file.write_bytes(b'damaged')
    store.forget()
    assert feature_audit(made(tmp_path, cache_bytes=0)) == ()
