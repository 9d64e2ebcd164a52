"""Labels as files spell them: order, numbers that are ids, what is no label at all."""

import itertools
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from ftjax.data import DataSettings, load_data
from ftjax.data.labels import labels_of
from ftjax.data.labels.names import MAX_CLASSES, spelling_note
from ftjax.data.labels.names import order as order_of
from ftjax.data.sources.registry import read_source
from ftjax.errors import UserError


def refusal(source, **settings):
    with pytest.raises(UserError) as error:
        load_data(DataSettings(source=source, **settings))
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    'names, want',
    [
        (['0', '01', '1'], ['0', '01', '1']),
        (['1', '+1', '01', '001'], ['+1', '001', '01', '1']),
        (['-0', '0', '10', '9'], ['-0', '0', '9', '10']),
        (['٣', '3', '2'], ['2', '3', '٣']),
        (['1', '1.0', '01'], ['01', '1', '1.0']),
    ],
)
def test_the_order_of_classes_is_total(names, want):
    # A set gives them in an order that Python's hash seed decides.
    for order in itertools.permutations(names):
        assert sorted(order, key=order_of(set(names))) == want
    assert labels_of('classification').read(names, str)[1] == tuple(want)


@pytest.mark.slow
def test_classes_do_not_depend_on_the_hash_seed(tmp_path):
    path = tmp_path / 'd.csv'
    path.write_text('text,label\n' + 'a,0\nb,01\nc,1\nd,+1\ne,1\n' * 8)
    code = (
        'from ftjax.data import DataSettings, load_data;'
        f's = load_data(DataSettings(source="csv:{path}"));'
        'print(s.class_names, s.train.labels.tolist()[:8], len(s.notes))'
    )
    said = {
        subprocess.run(
            [sys.executable, '-c', code],
            env={**os.environ, 'PYTHONHASHSEED': str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(said) == 1 and "('0', '+1', '01', '1')" in said.pop()


def test_spellings_of_one_meaning_are_said(tmp_path):
    path = tmp_path / 'd.csv'
    path.write_text('text,label\n' + 'a,0\nb,01\nc,1\n' * 8)
    notes = load_data(DataSettings(source=f'csv:{path}')).notes
    assert notes == ("classes of one meaning are told apart by their spelling: '01' and '1'",)
    for names in (['1', '1.0'], ['Cat', 'cat'], ['cafe\u0301', 'café'], ['ﬁ', 'fi'], ['1', '1e0']):
        assert repr(names[0]) in spelling_note(names)
    for names in (['A', 'a'], ['0', '1', '10'], ['cat', 'cats'], ['1', '-1'], ['', 'x']):
        assert spelling_note(names) == ''


def save(tmp_path, y, **arrays):
    x = np.random.default_rng(0).integers(0, 255, (len(y), 4, 4), dtype=np.uint8)
    np.savez(tmp_path / 'd.npz', x=x, y=y, **arrays)
    return f'npz:{tmp_path}/d.npz'


@pytest.mark.parametrize('stray', [3_000_000, 30_000_000, 2_000_000_000, 3_000_000_000, 2**62])
def test_labels_that_are_ids_make_no_class_for_each_number_below(stray, tmp_path):
    y = np.arange(60) % 3
    y[5] = stray
    source = save(tmp_path, y)
    tracemalloc.start()
    splits = load_data(DataSettings(source=source))
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert splits.class_names == ('0', '1', '2', str(stray))
    assert f'{stray:,} are ids and no indices' in splits.notes[0]
    assert f'{str(stray)!r} has 1 example' in splits.notes[0]


def test_ids_are_classes_in_order_of_all_parts(tmp_path):
    x = np.zeros((6, 4, 4), np.uint8)
    np.savez(
        tmp_path / 'd.npz', x_train=x, y_train=np.array([900, 70, 70, 900, 9, 9]), x_test=x[:2],
        y_test=np.array([900.0, 70.0]),
    )  # fmt: skip
    parts = read_source(DataSettings(source=f'npz:{tmp_path}/d.npz'))
    assert parts.training.class_names == ('9', '70', '900')
    assert parts.training.labels.tolist() == [2, 1, 1, 2, 0, 0]
    assert parts.test.labels.tolist() == [2, 1]


def test_too_many_labels_and_a_label_for_each_example_are_refused(tmp_path):
    y = np.arange(MAX_CLASSES + 2) * 7
    np.savez(tmp_path / 'd.npz', x=np.zeros((len(y), 1, 1), np.uint8), y=y)
    assert 'distinct labels' in refusal(f'npz:{tmp_path}/d.npz')
    assert 'a class of its own' in refusal(save(tmp_path, np.arange(40) + 1000))
    lines = ''.join(f'{{"text": "t", "label": {i}}}\n' for i in range(30))
    (tmp_path / 'd.jsonl').write_text(lines)
    assert 'a class of its own' in refusal(f'jsonl:{tmp_path}/d.jsonl')


@pytest.mark.parametrize(
    'label, words',
    [
        ('"\\ud800"', ['line 2', 'surrogate']),
        ('"a\\udc80b"', ['line 2', 'surrogate']),
        ('7' * 5_000, ['line 2', 'no JSON']),
        ('"' + '7' * 5_000 + '"', ['line 2', '5,000 characters', 'data.label_column']),
        ('"' + 'x' * 501 + '"', ['line 2', '501 characters']),
        ('1' + '0' * 4_000, ['line 2', 'digits']),
        ('["a", "b"]', ['line 2', 'multilabel']),
        ('{"a": 1}', ['line 2', 'one name or number']),
        ('NaN', ['line 2', 'missing']),
        ('Infinity', ['line 2']),
    ],
)
@pytest.mark.parametrize('task', ['classification', 'multilabel'])
def test_what_is_no_label_is_refused_by_line(label, words, task, tmp_path):
    lines = '{"text": "a", "label": "1"}\n{"text": "b", "label": ' + label + '}\n'
    (tmp_path / 'd.jsonl').write_text(lines)
    settings = DataSettings(source=f'jsonl:{tmp_path}/d.jsonl', task=task)
    if task == 'multilabel' and label.startswith(('[', '{', 'NaN')):
        pytest.skip('a list is right there')
    with pytest.raises(UserError) as error:
        read_source(settings)
    for word in words:
        assert word in str(error.value)
    assert len(str(error.value)) < 500


def test_long_numbers_as_labels_are_ordered_by_value(tmp_path):
    names = ['9' * 30, '1' + '0' * 30, '5']
    rows = ''.join(json.dumps({'text': 't', 'label': name}) + '\n' for name in names)
    (tmp_path / 'd.jsonl').write_text(rows)
    data = read_source(DataSettings(source=f'jsonl:{tmp_path}/d.jsonl')).training
    assert data.class_names == ('5', '9' * 30, '1' + '0' * 30)


def test_names_in_bytes_that_are_not_utf8_and_half_characters_in_arrays(tmp_path):
    y = np.arange(12) % 2
    source = save(tmp_path, y, class_names=np.array([b'a', b'caf\xe9']))
    assert 'not UTF-8' in refusal(source)
    source = save(tmp_path, y, class_names=np.array(['a', 'b\udce9']))
    assert 'no valid Unicode' in refusal(source)
    source = save(tmp_path, y, ids=np.array([f'\udce9{i}' for i in range(12)]))
    splits = load_data(DataSettings(source=source))
    assert splits.fingerprint and splits.train.ids[0].startswith('\\xe9')


@pytest.mark.parametrize('shape', [(12, 0, 4), (12, 4, 0), (12, 4, 4, 0)])
def test_images_without_pixels_in_arrays(shape, tmp_path):
    np.savez(tmp_path / 'd.npz', x=np.zeros(shape, np.uint8), y=np.arange(12) % 2)
    assert 'images without pixels' in refusal(f'npz:{tmp_path}/d.npz')
