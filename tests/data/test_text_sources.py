"""Pairs, several labels and named files, from every source of texts; the real data sets."""

import json

import numpy as np
import pytest

from ftjax.data import Dataset, DataSettings, fold, load_data
from ftjax.data.sources.registry import read_source
from ftjax.data.user_paths import resolve_path
from ftjax.errors import UserError

TEXT = resolve_path('$FTJAX_DATA/text')
needs_data = pytest.mark.skipif(not TEXT.is_dir(), reason='needs FTJAX_DATA')


@pytest.fixture
def write(tmp_path):
    def write(name, text, encoding='utf-8'):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def parts(source, **settings):
    return read_source(DataSettings(source=str(source), **settings))


def refusal(source, **settings):
    with pytest.raises(UserError) as error:
        load_data(DataSettings(source=str(source), **settings))
    assert '\n' not in str(error.value)
    return str(error.value)


PAIRS = [('a b', 'c'), ('d', 'e, f'), ('g', 'h')]


def test_pairs_from_every_source(write, tmp_path):
    rows = ''.join(f'"{a}","{b}",{i % 2}\n' for i, (a, b) in enumerate(PAIRS))
    csv = write('d.csv', 'sentence,other,label\n' + rows)
    lines = [
        json.dumps({'sentence': a, 'other': b, 'label': i % 2}) for i, (a, b) in enumerate(PAIRS)
    ]
    jsonl = write('d.jsonl', '\n'.join(lines))
    plain = write('d.tsv', ''.join(f'{i % 2}\t{a}\t{b}\n' for i, (a, b) in enumerate(PAIRS)))
    np.savez(tmp_path / 'd.npz', x=np.array(PAIRS), y=np.array([0, 1, 0]))
    got = [
        parts(f'csv:{csv}', text_pair_column='other'),
        parts(f'jsonl:{jsonl}', text_pair_column='other'),
        parts(f'csv:{plain}', text_pair_column='other', layout='label_first'),
        parts(f'npz:{tmp_path}/d.npz'),
    ]
    for part in got:
        assert part.train.inputs.shape == (3, 2)
        assert [tuple(pair) for pair in part.train.inputs] == PAIRS
        assert part.train.labels.tolist() == [0, 1, 0]
        assert part.train.take([1]).inputs.tolist() == [['d', 'e, f']]


def test_pairs_that_cannot_be(write):
    path = write('d.csv', 'text,other,label\na,b,0\nc,,1\n')
    assert "line 3: 'other'" in refusal(f'csv:{path}', text_pair_column='other')
    assert "'othr'" in refusal(f'csv:{path}', text_pair_column='othr')
    assert 'another column' in refusal(f'csv:{path}', text_pair_column='text')
    plain = write('e.tsv', 'a\tb\t0\nc\t1\n')
    message = refusal(f'csv:{plain}', text_pair_column='second', layout='label_last')
    assert 'line 2' in message and 'two texts' in message
    with pytest.raises(UserError, match='two throughout'):
        Dataset(name='d', kind='text', inputs=['a', ('b', 'c')], labels=[0, 0], class_names='x')


def test_a_pair_is_not_its_two_texts():
    def data(inputs, labels):
        return Dataset(name='d', kind='text', inputs=inputs, labels=labels, class_names='x')

    two = data([('a', 'b')], [0]), data([('b', 'a')], [0]), data(['ab'], [0])
    assert len({one.fingerprint for one in two}) == 3


def test_several_labels_an_example(write, tmp_path):
    csv = write('d.csv', 'text,label\na,red|big\nb,\nc,big | blue\nd,red\n')
    train = parts(f'csv:{csv}', task='multilabel').train
    assert train.class_names == ('big', 'blue', 'red')
    assert train.labels.dtype == np.float32
    assert train.labels.tolist() == [[1, 0, 1], [0, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert (train.task, train.num_outputs) == ('multilabel', 3)
    semi = write('e.csv', 'text,label\na,red;big\nb,big\n')
    got = parts(f'csv:{semi}', task='multilabel', label_separator=';').train
    assert got.labels.tolist() == [[1, 1], [1, 0]]
    lines = [{'text': 'a', 'label': ['red', 'big']}, {'text': 'b', 'label': []}]
    lines += [{'text': 'c', 'label': None}, {'text': 'd', 'label': 'big|red'}]
    jsonl = write('d.jsonl', '\n'.join(json.dumps(line) for line in lines))
    names = ('red', 'big', 'none')
    got = parts(f'jsonl:{jsonl}', task='multilabel', class_names=names).train
    assert got.labels.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0], [1, 1, 0]]
    numbers = write('n.jsonl', '{"text": "a", "label": [0, 2]}\n{"text": "b", "label": [1]}')
    got = parts(f'jsonl:{numbers}', task='multilabel', class_names=names).train
    assert got.labels.tolist() == [[1, 0, 1], [0, 1, 0]]
    hot = np.array([[1, 0], [1, 1], [0, 0]])
    np.savez(tmp_path / 'd.npz', x=np.array(['a', 'b', 'c']), y=hot, class_names=['u', 'v'])
    got = parts(f'npz:{tmp_path}/d.npz', task='multilabel').train
    assert got.labels.tolist() == hot.tolist() and got.class_names == ('u', 'v')


def test_labels_that_cannot_be(write, tmp_path):
    csv = write('d.csv', 'text,label\na,red\nb,rde\n')
    message = refusal(f'csv:{csv}', task='multilabel', class_names=('red', 'blue'))
    assert 'line 3' in message and "did you mean 'red'" in message
    empty = write('e.csv', 'text,label\na,\nb,\n')
    assert 'no example has any label' in refusal(f'csv:{empty}', task='multilabel')
    np.savez(tmp_path / 'd.npz', x=np.array(['a', 'b']), y=np.array([[1, 0], [2, 0]]))
    assert 'label 2 of row 2 (counted from 1), class 0' in refusal(
        f'npz:{tmp_path}/d.npz', task='multilabel'
    )
    with pytest.raises(UserError, match=r'one class an example; data\.task is multilabel'):
        DataSettings(task='multilabel', examples_per_class=3)
    with pytest.raises(UserError, match=r'expected \(N, 2\)'):
        Dataset(
            name='d',
            kind='text',
            inputs=['a'],
            labels=[1],
            class_names='xy',
            task='multilabel',
        )


def test_several_labels_are_split_without_strata(write):
    rows = ''.join(f't{i},{"x|y" if i % 3 else "z"}\n' for i in range(40))
    csv = write('d.csv', 'text,label\n' + rows)
    splits = load_data(DataSettings(source=f'csv:{csv}', task='multilabel'))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (26, 6, 8)
    assert splits.num_outputs == 3
    seen = np.concatenate([part.inputs for part in (splits.train, splits.val, splits.test)])
    assert sorted(seen) == sorted(f't{i}' for i in range(40))
    train, held = fold(splits.train, 4, 1)
    assert len(train) + len(held) == 26
    with pytest.raises(UserError, match='the data has 26 examples, too few for 30 folds'):
        fold(splits.train, 30, 0)
    named = refusal(f'csv:{csv}', task='multilabel', class_names=('x', 'y', 'z', 'w'))
    assert "class 'w' has no training example" in named


def test_files_may_be_named(write, tmp_path):
    write('A.train.all', '1 one two\n0 three\n1 x\n0 y\n')
    write('A.test.all', '0 four\n')
    given = {'layout': 'label_first', 'delimiter': ' '}
    files = {'train_file': 'A.train.all', 'test_file': 'A.test.all'}
    got = parts(f'csv:{tmp_path}', **given, **files)
    assert (len(got.train), got.val, len(got.test)) == (4, None, 1)
    assert got.test.inputs.tolist() == ['four']
    wrong = {**given, **files, 'test_file': 'A.tset.all'}
    assert "'A.test.all'" in refusal(f'csv:{tmp_path}', **wrong)
    out = {**given, 'train_file': '../x'}
    assert 'leads out of' in refusal(f'csv:{tmp_path}', **out)
    assert 'train_file needs the folder' in refusal(f'csv:{tmp_path}/A.train.all', **given, **files)
    with pytest.raises(UserError, match=r'need data\.train_file'):
        DataSettings(test_file='x')
    assert 'data.train_file' in refusal(f'csv:{tmp_path}')


def test_the_maximal_length_reaches_every_split(write):
    csv = write('d.csv', 'text,label\n' + ''.join(f'{i},{i % 2}\n' for i in range(20)))
    splits = load_data(DataSettings(source=f'csv:{csv}', max_length=40))
    assert {part.max_length for part in (splits.train, splits.val, splits.test)} == {40}
    with pytest.raises(UserError, match=r'data\.max_length is 2'):
        DataSettings(max_length=2)


@pytest.mark.data
@needs_data
def test_sst2_as_given():
    settings = DataSettings(
        source='csv:$FTJAX_DATA/text/sst2',
        layout='label_last',
        class_names=('negative', 'positive'),
    )
    splits = load_data(settings)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (6920, 872, 1821)
    assert splits.train.inputs[0].startswith('a stirring , funny and finally transporting')
    assert splits.train.labels[0] == 1
    assert np.bincount(splits.test.labels).tolist() == [912, 909]


@pytest.mark.data
@needs_data
def test_trec_as_given():
    settings = {
        'source': 'csv:$FTJAX_DATA/text/trec',
        'layout': 'label_first',
        'delimiter': ' ',
        'val_fraction': 0.1,
    }
    coarse = {'train_file': 'TREC.train.all', 'test_file': 'TREC.test.all'}
    splits = load_data(DataSettings(**settings, **coarse, encoding='latin-1'))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (4907, 545, 500)
    assert splits.class_names == tuple('012345')
    assert splits.test.inputs[0] == 'How far is it from Denver to Aspen ?'
    fine = {'train_file': 'TREC.train.latin1', 'test_file': 'TREC.test.latin1'}
    got = parts(**settings, **fine, encoding='latin-1')
    assert got.train.class_names[0] == 'ABBR:abb' and len(got.train) == 5452
    message = refusal(**settings, **fine)
    raw = (TEXT / 'trec' / 'TREC.train.latin1').read_bytes().split(b'\n')
    first = next(i for i, line in enumerate(raw, 1) if any(byte > 127 for byte in line))
    assert f'line {first}:' in message and 'latin-1' in message
