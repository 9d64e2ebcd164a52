"""Examples that are alike count once: those of a group in a reference, those of a request."""

import collections
import dataclasses
import types

import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.serving.bundle.answer_forms.answer_form import Told
from ftjax.serving.bundle.reference import (
    BINS,
    RESERVOIR,
    SAID,
    check_monitored,
    measure,
    read_reference,
    write_reference,
)
from ftjax.serving.bundle.signature import InputArray, Signature
from ftjax.serving.making import proof
from ftjax.serving.making.write_bundle import write_bundle
from ftjax.serving.monitoring import window_file
from ftjax.serving.monitoring.periods import joined
from ftjax.serving.monitoring.sketch import Answered, Sketch
from ftjax.serving.monitoring.window_file import read_window, window_of, write_window

SIGNATURE = Signature(
    task='t',
    takes='table',
    inputs={'features': InputArray(dtype='float32', shape=(1,), low=-1, high=1, unit='')},
    features=1,
    outputs=2,
    activation='softmax',
    class_names=('no', 'yes'),
)
FACTS = {'bundle': 'b' * 64, 'start': 0, 'seconds': 60, 'refused': 0, 'seed': 1}


def reference(count, said='yes', **more):
    told = [Told(said, 0.9, ('yes',), 'yes', probable=True)] * count
    features = np.arange(count, dtype=np.float32)[:, None]
    ids = tuple(map(str, range(count)))
    labels = np.arange(count) % 2
    return measure(told, features, ids, SIGNATURE, 'val', labels=labels, **more)


def test_a_reference_keeps_one_example_of_each_group(tmp_path):
    groups = np.array(['a'] * 50 + ['b'] * 3 + ['c'], object)
    chosen = collections.Counter()
    for seed in range(40):
        found = reference(54, groups=groups, seed=seed)
        assert (found.count, found.groups, found.labelled) == (54, 3, 3)
        kept = [int(each) for each in found.ids]
        assert [groups[each] for each in kept] == ['a', 'b', 'c']
        assert found.right == sum(each % 2 for each in kept)
        chosen.update(kept)
    assert len(chosen) > 20 and {50, 51, 52} <= set(chosen)  # any of a group, not its first
    write_reference(tmp_path, found)
    assert read_reference(tmp_path, SIGNATURE).groups == 3
    alone = reference(54)
    assert (alone.groups, alone.labelled, len(alone.ids)) == (0, 54, 54)
    many = np.arange(2 * RESERVOIR).repeat(2).astype(str)
    found = reference(len(many), groups=many)
    assert (len(found.ids), found.groups, found.labelled) == (RESERVOIR, *[2 * RESERVOIR] * 2)


def test_a_reference_of_training_examples_is_of_no_traffic():
    found = reference(4)
    check_monitored(found)
    with pytest.raises(UserError, match='were trained on'):
        check_monitored(dataclasses.replace(found, split='train'))


def test_tags_of_long_texts_are_kept_by_their_beginning(tmp_path):
    found = reference(600, said='B-PERSON ' * 5001)
    write_reference(tmp_path, found)
    assert {len(each) for each in read_reference(tmp_path, SIGNATURE).said} == {SAID}


def test_a_reference_that_nobody_can_read_is_said_at_export(images, tmp_path, monkeypatch):
    def long(*given, **more):
        found = measure(*given, **more)
        return dataclasses.replace(found, ids=('x' * 20_000, *found.ids[1:]))

    monkeypatch.setattr(proof, 'measure', long)
    with pytest.raises(UserError, match=r'reference\.json: ids'):
        write_bundle(images.run, tmp_path / 'bundle')
    assert not (tmp_path / 'bundle').exists()


def sketch_of(requests, inputs, first=0):
    """Requests with so many inputs each; features are their numbers, from `first` on."""
    old = types.SimpleNamespace(
        edges=np.linspace(0, 1, BINS + 1), features=np.zeros((1, 1)), measure_names=()
    )
    sketch = Sketch(old, 2, 0)
    for number in range(first, first + requests):
        features = np.full(1, number, np.float32)
        sketch.note(
            [Answered(f'{number}/{n}', 0.5, 0, (0,), features, np.zeros(0)) for n in range(inputs)]
        )
    return sketch


def test_a_sample_holds_one_answer_of_a_request(tmp_path, monkeypatch):
    sketch = sketch_of(40, 8)
    rows, ids = sketch.sample()
    assert (sketch.seen, sketch.requests, sketch.histogram.sum()) == (320, 40, 320)
    assert rows.features[:, 0].tolist() == list(range(40))
    assert [each.split('/')[0] for each in ids] == [str(each) for each in range(40)]
    assert len({each.split('/')[1] for each in ids}) > 3  # any of them, not the first
    window = window_of(sketch, **FACTS)
    write_window(tmp_path / 'a.safetensors', window)
    assert read_window(tmp_path / 'a.safetensors').requests == 40
    with monkeypatch.context() as before:  # a server of before says nothing of requests
        kinds = {key: kind for key, kind in window_file._KINDS.items() if key != 'requests'}
        before.setattr(window_file, '_KINDS', kinds)
        write_window(tmp_path / 'b.safetensors', window)
    assert read_window(tmp_path / 'b.safetensors').requests == 320
    write_window(tmp_path / 'c.safetensors', dataclasses.replace(window, requests=39))
    with pytest.raises(UserError, match='damaged'):
        read_window(tmp_path / 'c.safetensors')


def test_servers_weigh_in_a_period_by_their_requests():
    lone, many = sketch_of(600, 1), sketch_of(600, 50, first=1000)
    windows = [(name, window_of(one, **FACTS)) for name, one in (('a', lone), ('b', many))]
    period = joined(windows, 0)
    assert (period.seen, len(period.rows)) == (30_600, 512)
    share = (period.rows.features[:, 0] >= 1000).mean()
    assert abs(share - 0.5) < 0.1  # of the answers it would be 0.98
