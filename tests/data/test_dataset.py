"""Data sets check what they hold, and their fingerprint sees every change."""

import dataclasses

import numpy as np
import pytest

from ftjax.data.dataset import Dataset
from ftjax.errors import UserError


def small(**changes):
    fields = {
        'name': 'small',
        'kind': 'image',
        'inputs': np.arange(4 * 2 * 2, dtype=np.uint8).reshape(4, 2, 2, 1),
        'labels': [0, 1, 1, 0],
        'class_names': ('no', 'yes'),
        'ids': ['a', 'b', 'c', 'd'],
    }
    return Dataset(**{**fields, **changes})


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'labels': [0, 1, 1]}, ['4 inputs', '(3,)', '4 ids']),
        ({'ids': ['a']}, ['4 inputs', '1 ids']),
        ({'labels': [0, 1, 2, 0]}, ['label 2 of row 3 (counted from 1)', 'out of range', '0 to 1']),
        ({'labels': [0, -1, 1, 0]}, ['label -1 of row 2 (counted from 1)']),
        ({'inputs': np.zeros((4, 2, 2), np.uint8)}, ['(4, 2, 2)', 'height, width']),
        ({'inputs': np.zeros((4, 2, 2, 1))}, ['float64']),
        ({'kind': 'images'}, ["'image'"]),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(UserError) as error:
        small(**changes)
    for word in words:
        assert word in str(error.value)


def test_take_keeps_inputs_labels_and_ids_together():
    data = small()
    part = data.take([2, 0])
    np.testing.assert_array_equal(part.inputs, data.inputs[[2, 0]])
    assert part.labels.tolist() == [1, 0]
    assert part.labels.dtype == np.int32
    assert part.ids.tolist() == ['c', 'a']
    assert len(data.take([])) == 0


def test_a_split_cannot_be_edited_and_the_callers_array_still_can():
    images = np.zeros((4, 2, 2, 1), np.uint8)
    data = small(inputs=images)
    with pytest.raises(ValueError, match='read-only'):
        data.inputs[0] = 1
    with pytest.raises(ValueError, match='read-only'):
        data.labels[0] = 1
    images[0] = 1


@pytest.mark.parametrize(
    'change',
    [
        lambda d: dataclasses.replace(
            d, inputs=d.inputs + np.eye(4, dtype=np.uint8)[:, :1, None, None]
        ),
        lambda d: dataclasses.replace(d, labels=[0, 1, 0, 0]),
        lambda d: dataclasses.replace(d, ids=['a', 'b', 'c', 'e']),
        lambda d: dataclasses.replace(d, class_names=('no', 'yess')),
        lambda d: dataclasses.replace(d, inputs=d.inputs.reshape(4, 1, 4, 1)),
        lambda d: dataclasses.replace(d, inputs=d.inputs.astype(np.float32)),
        lambda d: d.take([0, 1, 3, 2]),
        lambda d: d.take([0, 1, 2]),
    ],
)
def test_the_fingerprint_sees_every_change(change):
    assert change(small()).fingerprint != small().fingerprint


def test_the_fingerprint_is_of_the_content_alone():
    assert small().fingerprint == small(name='elsewhere').fingerprint
    assert small().take(range(4)).fingerprint == small().fingerprint
    assert len(small().fingerprint) == 64


def test_texts_are_delimited_in_the_fingerprint():
    marks = {
        Dataset(name='t', kind='text', inputs=texts, labels=[0, 0], class_names='x').fingerprint
        for texts in (['ab', 'c'], ['a', 'bc'], ['abc', ''])
    }
    assert len(marks) == 3


def test_a_changed_file_changes_the_fingerprint_and_a_moved_one_does_not(tmp_path):
    marks = []
    for folder, content in (
        ('one', b'x' * 9000),
        ('two', b'x' * 9000),
        ('three', b'x' * 8999 + b'y'),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'f.jpg').write_bytes(content)
        data = Dataset(
            name='f',
            kind='image_file',
            inputs=[str(tmp_path / folder / 'f.jpg')],
            labels=[0],
            class_names='x',
            ids=['f.jpg'],
        )
        marks.append(data.fingerprint)
    assert marks[0] == marks[1] != marks[2]


def test_regression_labels_are_floats_of_any_size():
    data = small(task='regression', labels=[0.5, -3, 7, 0], class_names=())
    assert data.labels.dtype == np.float32
    assert data.num_classes == 0
