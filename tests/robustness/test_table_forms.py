"""Tables as people have them: quotes, delimiters, encodings, paths, files without a header."""

import numpy as np
import pytest
from PIL import Image

from ftjax.data import DataSettings, load_data
from ftjax.data.sources.registry import read_source
from ftjax.errors import UserError

ROWS = [[f'text number {i}', str(i % 2)] for i in range(40)]


@pytest.fixture
def write(tmp_path):
    def write(name, rows=ROWS, sep=',', head=('text', 'label'), encoding='utf-8', end='\n'):
        lines = [sep.join(row) for row in ([list(head)] if head else []) + list(rows)]
        (tmp_path / name).write_bytes((end.join(lines) + end).encode(encoding))
        return f'csv:{tmp_path}/{name}'

    return write


def read(source, **settings):
    return read_source(DataSettings(source=source, **settings)).train


def refusal(source, **settings):
    with pytest.raises(UserError) as error:
        read(source, **settings)
    assert '\n' not in str(error.value)
    return str(error.value)


def changed(**rows):
    found = [list(row) for row in ROWS]
    for number, text in rows.items():
        found[int(number[1:])][0] = text
    return found


@pytest.mark.parametrize('sep', ['\t', ',', ';'])
@pytest.mark.parametrize('label_first', [False, True])
def test_lone_quotes_do_not_swallow_rows(write, sep, label_first):
    rows = changed(r3='"a quote that opens', r6='and one that ends"')
    head = ('text', 'label')
    if label_first:
        rows, head = [row[::-1] for row in rows], head[::-1]
    source = write('d.tsv', rows, sep, head)
    if sep != '\t':
        source = write('d.csv', rows, sep, head)
    if label_first:
        rows = [row[::-1] for row in rows]
        # The last line then goes on after the quote: no CSV file at all.
        rows[6][0] = 'and one that ends"'
    message = refusal(source)
    assert "data.quoting='none'" in message and ('lines 5 to 8' in message or 'line ' in message)
    data = read(source, quoting='none')
    assert data.inputs.tolist() == [row[0] for row in rows]


def test_quoting_may_be_said_and_then_rows_are_joined(write):
    source = write('d.tsv', changed(r3='"a quote that opens', r6='and one that ends"'), '\t')
    assert len(read(source, quoting='csv')) == 37


def test_texts_of_several_lines_are_still_one_cell(write):
    rows = changed(r3='"Hello, world\nbye"', r9='"a, b\n\nc"', r11='"says ""x"",\nand goes"')
    data = read(write('d.csv', rows))
    assert len(data) == 40
    assert data.inputs[3] == 'Hello, world\nbye' and data.inputs[11] == 'says "x",\nand goes'


def test_a_leading_quote_is_refused_with_its_remedy_and_read_with_it(write):
    source = write('d.tsv', changed(r3='"Great" they said'), '\t')
    message = refusal(source)
    assert 'line 5' in message and "data.quoting='none'" in message
    assert read(source, quoting='none').inputs[3] == '"Great" they said'


def test_a_raw_tab_after_a_lone_quote(write):
    rows = [['ham', '"well\tthen'], ['spam', 'win "now"'], *[['ham', f'x{i}'] for i in range(8)]]
    source = write('sms.tsv', rows, '\t', head=None)
    data = read(source, layout='label_first')
    assert data.inputs[0] == '"well\tthen' and len(data) == 10
    source = write('sms2.tsv', rows, '\t', ('label', 'text'))
    assert 'line 2' in refusal(source)
    assert 'label_first' in refusal(source, quoting='none')


def test_long_cells_and_the_librarys_limit_stays(write):
    import csv

    before = csv.field_size_limit()
    data = read(write('d.csv', changed(r2='x ' * 140_000)))
    assert len(data.inputs[2].strip()) == 279_999
    assert csv.field_size_limit() == before


def test_labels_that_only_look_like_numbers_are_names(write):
    rows = [[row[0], '--1' if row[1] == '1' else '0'] for row in ROWS]
    assert read(write('d.csv', rows)).class_names == ('--1', '0')
    for label in ('+-1', '1-', '-', '+'):
        rows = [[row[0], label if row[1] == '1' else '0'] for row in ROWS]
        assert set(read(write('d.csv', rows)).class_names) == {label, '0'}
    assert "'--1' is no class" in refusal(
        write('e.csv', [['a', '0'], ['b', '--1']]), class_names=('x', 'y')
    )


@pytest.fixture
def images(tmp_path):
    found = []
    for name in ('cat', 'dog'):
        (tmp_path / 'img' / name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f'img/{name}/{i}.png')
            found.append((name, i))
    return found


@pytest.mark.parametrize('form', ['img\\{0}\\{1}.png', '{2}/img/{0}/{1}.png', 'img/{0}\\{1}.png'])
def test_windows_separators_and_absolute_paths_within(write, images, tmp_path, form):
    rows = [[form.format(name, i, tmp_path), name] for name, i in images]
    data = read(write('d.csv', rows, head=('path', 'label')))
    assert data.inputs[7] == f'{tmp_path}/img/dog/2.png'


def test_images_elsewhere_need_to_be_said(write, images, tmp_path):
    (tmp_path / 'tables').mkdir()
    rows = [[f'{tmp_path}/img/{name}/{i}.png', name] for name, i in images]
    source = write('tables/d.csv', rows, head=('path', 'label'))
    assert 'leads out of' in refusal(source) and 'data.image_root' in refusal(source)
    for root in (f'{tmp_path}/img', str(tmp_path), '/'):
        assert len(read(source, image_root=root)) == 10
    assert 'leads out of' in refusal(source, image_root=f'{tmp_path}/img/cat')
    rows = [[f'{name}/{i}.png', name] for name, i in images]
    source = write('tables/d.csv', rows, head=('path', 'label'))
    assert 'data.image_root' in refusal(source)
    assert len(read(source, image_root=f'{tmp_path}/img')) == 10


@pytest.mark.parametrize('name', ['d.csv', 'd.tsv', 'd.txt'])
@pytest.mark.parametrize('sep', [',', ';', '\t', '|'])
def test_the_delimiter_is_found_and_said(write, name, sep):
    source = write(name, sep=sep)
    parts = read_source(DataSettings(source=source))
    assert parts.train.inputs.tolist() == [row[0] for row in ROWS]
    usual = sep == (',' if name == 'd.csv' else '\t')
    assert (parts.notes == ()) == usual
    assert usual or repr(sep) in parts.notes[0]


@pytest.mark.parametrize(
    'encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32']
)
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_marks_of_encodings_and_line_ends(write, encoding, end):
    rows = [['Grüße 猫', '0'], ['zwei', '1'], ['drei', '0']]
    source = write('d.csv', rows, encoding=encoding, end=end)
    if encoding in ('utf-16-le', 'utf-16-be'):  # without a mark
        assert 'data.encoding' in refusal(source)
        data = read(source, encoding=encoding)
    else:
        data = read(source)
    assert data.inputs.tolist() == ['Grüße 猫', 'zwei', 'drei']
    plain = write('d.tsv', rows, '\t', head=None, encoding='utf-8', end=end)
    assert read(plain, layout='label_last').labels.tolist() == [0, 1, 0]


def test_json_lines_in_utf16(tmp_path):
    (tmp_path / 'd.jsonl').write_text('{"text": "é", "label": 1}\n' * 3, encoding='utf-16')
    data = read_source(DataSettings(source=f'jsonl:{tmp_path}/d.jsonl')).train
    assert data.inputs.tolist() == ['é'] * 3


def test_columns_by_their_place(write):
    rows = [
        ['main-captions', 'MSRvid', '2012test', f'{i:04d}', f'{i / 10}', f'"A plane {i}', f'A {i}']
        for i in range(12)
    ]
    rows[4].append('a remark')
    source = write('sts.csv', rows, '\t', head=None)
    parts = read_source(
        DataSettings(
            source=source, layout='no_header', quoting='none', delimiter='\t', task='regression',
            label_column='4', text_column='5', text_pair_column='6',
        )
    )  # fmt: skip
    assert parts.train.inputs[3].tolist() == ['"A plane 3', 'A 3']
    np.testing.assert_allclose(parts.train.labels, np.arange(12) / 10)
    assert '1 of 12 lines have more than 7 cells' in parts.notes[0]
    message = refusal(source, layout='no_header', quoting='none', delimiter='\t', text_column='9')
    assert "no column '9'" in message or "no column 'label'" in message
    rows[5] = rows[5][:5]
    source = write('sts.csv', rows, '\t', head=None)
    settings = {'layout': 'no_header', 'quoting': 'none', 'text_column': '5', 'label_column': '1'}
    assert 'line 6: 5 cells for 7 columns' in refusal(source, **settings)


def test_an_id_column_that_suggests_groups_is_said(write):
    from ftjax.data.audit.overview import findings

    rows = [[f't{i}', str(i // 4 % 2), f'p{i // 4}'] for i in range(80)]
    splits = load_data(
        DataSettings(source=write('d.csv', rows, head=('text', 'label', 'PatientID')))
    )
    told = [note for note in findings(splits) if 'PatientID' in note]
    assert len(told) == 1 and '20 groups' in told[0]
    rows = [[f't{i}', str(i % 2), f'p{i}'] for i in range(80)]
    splits = load_data(
        DataSettings(source=write('d.csv', rows, head=('text', 'label', 'PatientID')))
    )
    assert findings(splits) == ()
