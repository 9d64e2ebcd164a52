"""Label errors are looked for in the features that a run stores, and before the next one."""

import dataclasses
import logging

import numpy as np
from PIL import Image
from tiny_runs import shades, splits

from ftjax.config import read_config
from ftjax.data import Dataset, Splits
from ftjax.data.audit.examples import Examples
from ftjax.data.audit.findings.feature_copies import feature_copies
from ftjax.data.audit.quick import quick_audit
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


def test_near_copies_across_splits_are_seen_in_features():
    """Crops that the always-on checks pass over, and pictures that only have like features."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (60, 5, 5, 3), dtype=np.uint8)
    big = [Image.fromarray(one).resize((40, 40), Image.Resampling.BICUBIC) for one in coarse]
    whole, moved = (
        np.stack([np.asarray(one.crop((at, at, at + 36, at + 36)).resize((32, 32))) for one in big])
        for at in (0, 4)
    )
    shown = {'train': whole[:40], 'val': [*moved[:3], *whole[40:50]], 'test': moved[10:14]}
    parts = {
        name: Dataset(
            name=f'd {name}', kind='image', inputs=np.stack(list(images)), class_names='ab',
            labels=np.arange(len(images)) % 2,
        )
        for name, images in shown.items()
    }  # fmt: skip
    data = Splits(**parts)
    features = rng.normal(size=(57, 16))
    features[[40, 41, 42, 53, 54, 55, 56]] = features[[0, 1, 2, 10, 11, 12, 13]] + 0.01
    features[45] = features[5] + 0.01  # like features of pictures that have nothing in common
    audit = quick_audit(data)
    found = [*feature_copies(Examples(data), features, audit)]
    assert [one.severity for one in found] == ['warning'] * len(found)
    pairs = {(row.partner, row.position) for one in found for row in one.rows}
    planted = {(0, 40), (1, 41), (2, 42), (10, 53), (11, 54), (12, 55), (13, 56)}
    known = {40 + i for i in audit.leaked(1)[1]} | {53 + i for i in audit.leaked(2)[1]}
    assert pairs == {pair for pair in planted if pair[1] not in known} and len(pairs) > 2
    alone = Examples(dataclasses.replace(data, val=data.val.take([])))
    rows = [*range(40), *range(53, 57)]
    found = [*feature_copies(alone, features[rows], audit)]
    assert all('of 4 test examples' in one.message for one in found)


def test_features_of_test_examples_are_looked_at_where_they_are_stored(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    store.forget()
    first = made(tmp_path)
    train(first, tmp_path / 'run', progress=False)
    assert 'stored features of train 90, val 24 looked at' in caplog.text
    swapped = dataclasses.replace(first.data, val=first.data.test, test=first.data.val)
    train(prepare(first.config, swapped), progress=False)  # stores them
    vars(first.data).pop('_feature_audit')
    feature_audit(first)
    assert 'stored features of train 90, val 24, test 9 looked at' in caplog.text


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
