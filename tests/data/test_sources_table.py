"""CSV, TSV and JSONL: texts, image paths, values; every error names its line."""

import json

import numpy as np
import pytest
from PIL import Image

from ftjax.data import DataSettings, load_data
from ftjax.data.sources.registry import read_source
from ftjax.errors import UserError


def parts(path, kind='csv', **settings):
    return read_source(DataSettings(source=f'{kind}:{path}', **settings))


def refusal(path, kind='csv', **settings):
    with pytest.raises(UserError) as error:
        parts(path, kind, **settings)
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.fixture
def write(tmp_path):
    def write(name, text, encoding='utf-8'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_quoted_cells_hold_delimiters_and_line_breaks(write):
    path = write('d.csv', 'text,label\n"a, b",pos\n"two\nlines",neg\n"say ""x""",pos\n')
    data = parts(path).train
    assert data.inputs.tolist() == ['a, b', 'two\nlines', 'say "x"']
    assert data.class_names == ('neg', 'pos')
    assert data.labels.tolist() == [1, 0, 1]
    assert data.kind == 'text'
    assert data.ids.tolist()[0] == 'd.csv:2'


def test_a_byte_order_mark_and_dos_lines(write):
    data = parts(write('d.csv', '\ufefftext,label\r\na,1\r\nb,0\r\n')).train
    assert data.inputs.tolist() == ['a', 'b']


def test_whole_numbers_are_ordered_by_value(write):
    data = parts(write('d.csv', 'text,label\na,10\nb,9\nc,2\n')).train
    assert data.class_names == ('2', '9', '10')


def test_tsv_with_the_label_last_and_quotes_that_mean_nothing(write):
    data = parts(write('d.tsv', '" lone quote\t0\na\ttab\t1'), layout='label_last').train
    assert data.inputs.tolist() == ['" lone quote', 'a\ttab']
    assert data.labels.tolist() == [0, 1]


def test_the_label_first_parted_by_a_blank(write):
    path = write('d.txt', '1 What is it ?\n0 Who\u2028is it ?\n')
    data = parts(path, layout='label_first', delimiter=' ').train
    assert data.inputs.tolist() == ['What is it ?', 'Who\u2028is it ?']
    assert data.labels.tolist() == [1, 0]


def test_a_folder_with_a_file_per_split_shares_its_classes(write):
    for name, label in (('train', 'a'), ('dev', 'b'), ('test', 'a')):
        path = write(f'set/{name}.csv', f'text,label\nx,{label}\ny,c\n')
    got = parts(path.parent)
    assert got.train.class_names == got.val.class_names == ('a', 'b', 'c')
    assert (got.train.labels.tolist(), got.val.labels.tolist()) == ([0, 2], [1, 2])
    with pytest.raises(UserError, match="class 'b' has no training example"):
        load_data(DataSettings(source=f'csv:{path.parent}'))
    write('set/valid.tsv', 'text\tlabel\n')
    assert 'both are val' in refusal(path.parent)


def test_a_split_column(write):
    text = 'text,label,part\na,0,train\nb,1,Train\nc,1,validation\nd,0,test\n'
    got = parts(write('d.csv', text), split_column='part')
    assert (len(got.train), len(got.val), len(got.test)) == (2, 1, 1)
    text = text.replace('validation', 'vall')
    assert "line 4: split 'vall'" in refusal(write('d.csv', text), split_column='part')


def test_paths_are_relative_to_the_file(write, tmp_path):
    (tmp_path / 'images').mkdir()
    for i in range(4):
        Image.new('RGB', (8, 8), (i, 0, 0)).save(tmp_path / 'images' / f'{i}.png')
    rows = ''.join(f'images/{i}.png,{i / 2}\n' for i in range(4))
    path = write('d.csv', 'path,label\n' + rows)
    data = parts(path, task='regression', channels=1).train
    assert data.kind == 'image_file'
    assert data.inputs[1] == str(tmp_path / 'images' / '1.png')
    assert data.labels.tolist() == [0, 0.5, 1, 1.5]
    assert (data.labels.dtype, data.class_names) == (np.float32, ())
    assert data.channels == 1
    splits = load_data(
        DataSettings(source=f'csv:{path}', task='regression', val_fraction=0.25, test_fraction=0.25)
    )
    assert (len(splits.train), len(splits.val), len(splits.test)) == (2, 1, 1)


@pytest.mark.parametrize(
    'path', ['../x.png', '/etc/passwd', 'a/../../x.png', '..\\x.png', 'C:\\x', '\\x']
)
def test_a_path_that_leads_out_of_the_folder_is_refused(write, path):
    message = refusal(write('d.csv', f'path,label\n{path},1\n'))
    assert 'line 2' in message and 'leads out of' in message and repr(path) in message


@pytest.mark.parametrize(
    'text, settings, words',
    [
        ('', {}, ['d.csv', 'no examples']),
        ('text,label\n', {}, ['no examples']),
        ('text,lable\na,1\n', {}, ["no column 'label'", 'data.label_column', "'lable'"]),
        ('sentense,label\na,1\n', {}, ['data.text_column', 'sentense']),
        ('text,path,label\na,b,1\n', {}, ['text and path', 'data.text_column']),
        ('text,label\na,1\n', {'text_column': 'txt'}, ["'txt'", "'text'"]),
        ('text,label\na,1\n', {'text_column': 'a', 'path_column': 'b'}, ['both set']),
        ('text,label\na,1\nb,c,0\n', {}, ['line 3', '3 cells for 2 columns']),
        ('text,text,label\na,b,1\n', {}, ['line 1', 'two columns of one name']),
        ('text,label\na,1\nb,\n', {}, ['line 3', 'label is missing']),
        ('text,label\na,1\n ,0\n', {}, ['line 3', "'text'", 'expected a text']),
        ('text,label\na,1\n"b,0\n', {}, ['line 3']),
        ('text,label\na,7\n', {'class_names': ('x', 'y')}, ['line 2', 'label 7', '0 to 1']),
        ('text,label\na,-1\n', {'class_names': ('x', 'y')}, ['line 2', 'label -1']),
        ('text,label\na,dgo\n', {'class_names': ('cat', 'dog')}, ['line 2', "'dgo'", "'dog'"]),
        ('text,label\na,tall\n', {'task': 'regression'}, ['line 2', "'tall'", 'no finite number']),
        ('text,label\na,inf\n', {'task': 'regression'}, ['line 2', "'inf'"]),
        ('path,label\nx.png,1\n', {}, ['line 2', 'no image', 'x.png']),
        ('text,label\na,1\n', {'encoding': 'utf9'}, ["'utf9'", 'utf-8']),
        ('a\t1\nb 0\n', {'layout': 'label_last', 'delimiter': '\t'}, ['line 2', 'no \'\\t\'']),
        ('text,label\na,1\n', {'split_column': 'fold'}, ["'fold'", 'data.split_column']),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_by_line_and_remedy(write, text, settings, words):
    message = refusal(write('d.csv', text), **settings)
    for word in words:
        assert word in message, message


def test_a_broken_image_in_the_list_is_named(write, tmp_path):
    (tmp_path / 'x.png').write_bytes(b'no image')
    message = refusal(write('d.csv', 'path,label\nx.png,1\n'))
    assert f'{tmp_path}/x.png: broken image' in message


def test_the_wrong_encoding_names_the_line(write):
    path = write('d.csv', 'text,label\na,0\ncaf\xe9,1\n', 'latin-1')
    message = refusal(path)
    assert 'line 3' in message and '0xe9' in message and 'latin-1' in message
    assert parts(path, encoding='latin-1').train.inputs[1] == 'caf\xe9'


def test_missing_files_name_the_nearest(write):
    path = write('reviews.csv', 'text,label\na,0\n')
    assert "'reviews.csv'" in refusal(path.parent / 'review.csv')
    assert 'name the file itself' in refusal(path.parent)


def test_class_names_may_be_given_for_numbers(write):
    data = parts(write('d.csv', 'text,label\na,1\nb,0\n'), class_names=('bad', 'good')).train
    assert (data.class_names, data.labels.tolist()) == (('bad', 'good'), [1, 0])
    data = parts(write('d.csv', 'text,label\na,good\nb,bad\n'), class_names=('good', 'bad')).train
    assert data.labels.tolist() == [0, 1]


def test_jsonl_reads_the_same_examples_as_csv(write):
    rows = [('a "quoted", text', 'x'), ('zw\xf6lf\nlines', 'y'), ('c', 'x')]
    lines = [json.dumps({'text': t, 'label': n, 'more': None}) for t, n in rows]
    data = parts(write('d.jsonl', '\n'.join(lines) + '\n\n'), 'jsonl').train
    assert data.inputs.tolist() == [text for text, _ in rows]
    assert data.labels.tolist() == [0, 1, 0]
    floats = '{"text": "a", "label": 1.0}\n{"text": "b", "label": 0}\n'
    assert parts(write('d.jsonl', floats), 'jsonl').train.class_names == ('0', '1')


@pytest.mark.parametrize(
    'line, words',
    [
        ('{"text": "b", "label": ', ['line 2', 'no JSON']),
        ('["b", 1]', ['line 2', 'is no object']),
        ('{"text": "b", "labl": 1}', ['line 2', "'label'", "'labl'"]),
        ('{"text": 5, "label": 1}', ['line 2', 'expected a text']),
        ('{"text": "b", "label": null}', ['line 2', 'label is missing']),
        ('{"text": "b", "label": 0.5}', ['line 2', "data.task='regression'"]),
        ('[' * 100_000, ['line 2', 'no JSON']),
    ],
)
def test_bad_jsonl_is_refused_by_line(write, line, words):
    message = refusal(write('d.jsonl', '{"text": "a", "label": 1}\n' + line + '\n'), 'jsonl')
    for word in words:
        assert word in message


def test_columns_to_tell_scores_apart_by_go_with_their_examples(write):
    path = write('d.csv', 'text,label,site,age\na,1,<b>,3\nb,0,y,4\nc,1,y,\n')
    found = parts(path, slices=('site', 'age')).slices
    assert found['site'] == {'d.csv:2': '<b>', 'd.csv:3': 'y', 'd.csv:4': 'y'}
    assert found['age']['d.csv:4'] == ''
    assert "no column 'sight' (data.slices); did you mean 'site'" in refusal(
        path, slices=('sight',)
    )
    with pytest.raises(UserError, match='names columns of a CSV or JSONL file'):
        load_data(DataSettings(source='digits', slices=('site',)))


def test_missing_values_of_columns_to_tell_scores_apart_by_are_no_part(write):
    lines = [{'text': 'a', 'label': 0, 'site': None}, {'text': 'b', 'label': 1, 'site': 2}]
    path = write('d.jsonl', '\n'.join(map(json.dumps, lines)))
    found = parts(path, 'jsonl', slices=('site',)).slices
    assert found['site'] == {'d.jsonl:1': '', 'd.jsonl:2': '2'}


def test_rows_of_files_of_one_name_have_ids_of_their_own(write):
    for split in ('train', 'test'):
        path = write(f'{split}/data.csv', f'text,label,site\na {split},1,{split}\nb {split},0,\n')
    files = {'train_file': 'train/data.csv', 'test_file': 'test/data.csv'}
    found = parts(path.parent.parent, slices=('site',), **files)
    assert found.train.ids.tolist() == ['train/data.csv:2', 'train/data.csv:3']
    assert found.slices['site']['test/data.csv:2'] == 'test' and len(found.slices['site']) == 4
