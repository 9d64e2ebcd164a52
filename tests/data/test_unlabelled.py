"""Inputs without labels: read as a run reads its data, and never all of them at once."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftjax.data.settings import DataSettings
from ftjax.data.sources.tables.cells import records, stream_records
from ftjax.data.sources.text_file import stream_lines
from ftjax.data.unlabelled import chunks as chunks_module
from ftjax.data.unlabelled.chunks import Reading, chunks
from ftjax.data.unlabelled.inputs import count_inputs, read_inputs
from ftjax.data.unlabelled.items import Item, Unreadable
from ftjax.errors import UserError
from ftjax.io.files.npz_archive import NpzArchive
from ftjax.io.files.npz_rows import npz_rows
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.open import load_pretrained

CELLS = st.text(st.sampled_from('ab ",;\n\té猫'), max_size=6)


@settings(max_examples=60, deadline=None)
@given(table=st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=6))
def test_a_streamed_table_has_the_records_of_a_whole_one(tmp_path_factory, table):
    import csv

    path = tmp_path_factory.mktemp('tables') / 't.csv'
    with path.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([['text', 'more'], *table])
    text = path.read_bytes().decode()
    whole = records(path, text, ',', 'csv')
    lines = stream_lines(path, 'utf-8', '')
    assert list(stream_records(path, lines, ',', 'csv', 1000)) == whole
    assert [record.cells for record in whole[1:]] == table
    plain = records(path, text, ',', 'none')
    lines = stream_lines(path, 'utf-8')
    assert list(stream_records(path, lines, ',', 'none', 1000)) == plain


@pytest.mark.parametrize(
    ('data', 'encoding'),
    [
        ('text\ncafé\n'.encode(), 'utf-8'),
        ('text\r\ncafé\r\n'.encode('utf-8-sig'), 'utf-8'),
        ('text\ncafé\n'.encode('utf-16'), 'utf-8'),
        ('text\ncafé'.encode('latin-1'), 'latin-1'),
        ('text\rcafé\r'.encode(), 'utf-8'),
    ],
)
def test_encodings_and_line_ends(tmp_path, data, encoding):
    (tmp_path / 't.csv').write_bytes(data)
    for quoting in ('csv', 'none'):
        how = DataSettings(encoding=encoding, quoting=quoting)
        (found,) = read_inputs(str(tmp_path / 't.csv'), how, True)
        assert found == Item('t.csv:2', 'café')


def test_rows_that_could_be_meant_either_way_are_left_out(tmp_path):
    (tmp_path / 't.csv').write_text('text,n\n"a,1\nb",2\nc,3\n')
    first, second = read_inputs(str(tmp_path / 't.csv'), DataSettings(), True)
    assert isinstance(first, Unreadable) and 'lone quote' in first.reason
    assert second == Item('t.csv:4', 'c')
    (tmp_path / 'plain.csv').write_text('good text\nanother, with a comma\n')
    how = DataSettings(layout='label_first')
    found = [item.value for item in read_inputs(str(tmp_path / 'plain.csv'), how, True)]
    assert found == ['good text', 'another, with a comma']
    assert count_inputs(str(tmp_path / 'plain.csv')) == 2


def test_a_long_table_is_read_as_it_is_asked_for(tmp_path):
    """The last line is no UTF-8; rows come before anybody has looked at it."""
    with (tmp_path / 't.jsonl').open('wb') as file:
        for index in range(20_000):
            file.write(json.dumps({'text': f'text {index}'}).encode() + b'\n')
        file.write(b'\xff\n')
    found = read_inputs(str(tmp_path / 't.jsonl'), DataSettings(), True)
    assert [item.value for item in itertools.islice(found, 3)] == ['text 0', 'text 1', 'text 2']
    with pytest.raises(UserError, match=r'after line 1\d{4}: .*data\.encoding'):
        list(found)


def test_images_are_decoded_a_batch_at_a_time():
    taken = []

    def endless():
        for index in itertools.count():
            taken.append(index)
            yield Item(str(index), np.full((9, 9, 1), index % 200, np.uint8))

    reading = Reading(Preprocessing(image_size=(8, 8)), batch_size=4)
    found = chunks(endless(), reading, lambda _: None)
    first = next(found)
    assert list(first.ids) == ['0', '1', '2', '3']
    (batch,) = first.batches
    assert batch['inputs'].shape == (4, 8, 8, 3) and batch['inputs'][2, 0, 0, 0] == 2
    assert len(taken) <= 4 + 4 * 16 + 1
    next(found)
    assert len(taken) <= 8 + 4 * 16 + 1
    found.close()


def test_texts_are_batched_by_length_a_part_at_a_time(monkeypatch):
    monkeypatch.setattr(chunks_module, 'TEXTS', 9)
    texts = ['a ' * (1 + 7 * (index % 5)) for index in range(21)]
    preprocessing = load_pretrained('docstrings').preprocessing
    reading = Reading(preprocessing, batch_size=4)
    taken = []

    def items():
        for index, text in enumerate(texts):
            taken.append(index)
            yield Item(str(index), text)

    found = chunks(items(), reading, print)
    first = next(found)
    assert len(first.ids) == 8 == len(taken)  # a multiple of the batch
    parts = [first, *found]
    assert [name for part in parts for name in part.ids] == [str(i) for i in range(21)]
    lengths = [batch['inputs']['input_ids'].shape[1] for batch in first.batches]
    assert lengths == sorted(lengths)
    positions = [int(i) for batch in first.batches for i in batch['index'][batch['mask'] > 0]]
    assert sorted(positions) == list(range(8)) != positions


def test_arrays_in_parts_are_the_whole_array(tmp_path):
    x = np.random.default_rng(0).random((11, 3, 2), np.float32)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / 'x.npz', x=x, f=np.asfortranarray(x))
        archive = NpzArchive(tmp_path / 'x.npz')
        parts = list(archive.blocks('x', 4))
        assert [len(part) for part in parts] == [4, 4, 3]
        assert np.concatenate(parts).tobytes() == x.tobytes()
        assert np.concatenate(list(archive.blocks('f', 4))).tobytes() == x.tobytes()
    data = (tmp_path / 'x.npz').read_bytes()
    (tmp_path / 'x.npz').write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    with pytest.raises(UserError, match=r'x\.npz'):
        list(NpzArchive(tmp_path / 'x.npz').blocks('x', 4))


def test_rows_of_an_archive_are_what_was_added(tmp_path):
    rows = np.random.default_rng(1).random((5, 3)).astype(np.float32)
    with npz_rows(tmp_path / 'o.npz', 'features') as write:
        write(['a', 'a long name, 猫'], rows[:2])
        write(['c', 'd', 'e'], rows[2:])
    with np.load(tmp_path / 'o.npz', allow_pickle=False) as found:
        assert found['features'].tobytes() == rows.tobytes()
        assert found['ids'].tolist() == ['a', 'a long name, 猫', 'c', 'd', 'e']
    with pytest.raises(RuntimeError), npz_rows(tmp_path / 'n.npz', 'features') as write:
        write(['a'], rows[:1])
        raise RuntimeError
    assert sorted(path.name for path in tmp_path.iterdir()) == ['o.npz']


@pytest.mark.parametrize(
    ('name', 'texts', 'words'),
    [
        ('x.npz', True, 'holds images or numbers'),
        ('t.npz', False, 'holds texts'),
        ('n.npz', False, "no array 'x'"),
        ('x.pdf', False, 'does not say how to read it'),
        ('gone.csv', True, 'no file'),
        ('empty', False, 'holds no image'),
        ('columns.csv', True, 'data.text_column'),
        ('headless.csv', True, 'holds no text'),
    ],
)
def test_inputs_of_another_kind_are_refused(tmp_path, name, texts, words):
    np.savez(tmp_path / 'x.npz', x=np.zeros((2, 4, 4)))
    np.savez(tmp_path / 't.npz', x=np.array(['a']))
    np.savez(tmp_path / 'n.npz', y=np.zeros(2))
    (tmp_path / 'x.pdf').write_bytes(b'%PDF')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'columns.csv').write_text('a,b\n1,2\n')
    (tmp_path / 'headless.csv').write_text('text\n')
    with pytest.raises(UserError, match=words.replace('.', r'\.')):
        list(read_inputs(str(tmp_path / name), DataSettings(), texts))
