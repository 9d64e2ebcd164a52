"""A cleaned index: examples left out and labels changed, without touching the data."""

import csv
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from ftjax.data import DataSettings, load_data
from ftjax.data.audit.full import full_audit, open_files
from ftjax.data.audit.records import (
    Record,
    cleaned_index,
    csv_text,
    earlier_records,
    index_text,
    records,
    with_earlier,
)
from ftjax.data.exclude import excluded
from ftjax.errors import UserError


@pytest.fixture
def source(tmp_path):
    rows = [f'text {i},{"ab"[i % 2]}' for i in range(40)]
    (tmp_path / 'd.csv').write_text('\n'.join(['text,label', *rows]) + '\n')
    return f'csv:{tmp_path}/d.csv'


def index(tmp_path, *rows, head='split,id,action,label,why'):
    (tmp_path / 'out.csv').write_text('\n'.join([head, *rows]) + '\n')
    return str(tmp_path / 'out.csv')


def test_rows_are_dropped_and_relabelled(source, tmp_path):
    file = index(
        tmp_path, 'train,d.csv:2,drop,,copy', 'train,d.csv:3,relabel,a,', 'train,d.csv:4,keep,,',
        'train,d.csv:5,review,b,"sure, but"',
    )  # fmt: skip
    splits = load_data(DataSettings(source=source, exclude=file, test_fraction=0, val_fraction=0))
    whole = load_data(DataSettings(source=source, test_fraction=0, val_fraction=0))
    assert splits.train.ids.tolist() == whole.train.ids.tolist()[1:]
    assert splits.train.labels[0] == 0 and whole.train.labels[1] == 1
    np.testing.assert_array_equal(splits.train.labels[1:], whole.train.labels[2:])
    assert splits.notes[-1].endswith('1 of 40 examples are left out, 1 relabelled')


@pytest.mark.parametrize(
    'rows, told',
    [
        (['train,d.csv:99,drop,,'], r"out.csv line 2: d.csv train has no 'd.csv:99'"),
        (['train,d.csv:2,delete,,'], "line 2: action 'delete'"),
        (['test,d.csv:2,drop,,'], "line 2: split 'test'"),
        (['train,d.csv:2,relabel,c,'], "line 2: no class 'c'"),
        (['train,d.csv:2'], 'line 2: cut short'),
    ],
)
def test_what_does_not_fit_is_said_with_its_line(rows, told, source, tmp_path):
    with pytest.raises(UserError, match=told):
        load_data(DataSettings(source=source, exclude=index(tmp_path, *rows)))
    with pytest.raises(UserError, match="no column 'split'"):
        load_data(DataSettings(source=source, exclude=index(tmp_path, head='id,action')))
    with pytest.raises(UserError, match=r'data\.exclude'):
        load_data(DataSettings(source=source, exclude=str(tmp_path / 'no.csv')))


def test_what_the_audit_writes_is_no_formula_and_is_found_again(tmp_path):
    rng = np.random.default_rng(0)
    names = ['=1+1', '@SUM(A1)', '-2', 'new\nline', '\x1b[31m', '<b>', 'a, "b"']
    for i, name in enumerate([*names, *map(str, range(30))]):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        for copy in ('', ' again') if i < len(names) else ('',):
            place = tmp_path / 'images' / ('=x', '-y')[i % 2] / f'{name}{copy}.png'
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place)
    source = f'folder:{tmp_path}/images'
    audit = full_audit(open_files(load_data(DataSettings(source=source))))
    found = records(audit)
    for text in (csv_text(found), index_text(found)):
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not any(cell.startswith(('=', '@', '+', '-')) for cell in cells)
        assert all(cell.isprintable() for cell in cells) and "'=x/" in text
    (tmp_path / 'out.csv').write_text(index_text(found))
    again = load_data(DataSettings(source=source, exclude=str(tmp_path / 'out.csv')))
    assert sum(map(len, (again.train, again.val, again.test))) == 37


def test_a_second_index_holds_what_the_first_one_says(tmp_path):
    words = [
        bytes(word).decode()
        for word in np.random.default_rng(0).integers(97, 123, (40, 30), np.uint8)
    ]
    rows = ['text,label', *(f'{word},{"ab"[i % 2]}' for i, word in enumerate(words))]
    rows += [f'{words[20]},b', 'n/a,a']
    source = _written_csv(tmp_path, rows)
    lines = ['t.csv:2,drop,,', 't.csv:3,relabel,a,', 't.csv:43,relabel,b,']
    first = index(tmp_path, *(f'train,{line}' for line in lines))
    audit = full_audit(open_files(load_data(DataSettings(source=source, exclude=first))))
    every = with_earlier(records(audit), earlier_records(first))
    file = tmp_path / 'second.csv'
    file.write_text(index_text(every))
    told = {row['id']: (row['action'], row['label']) for row in csv.DictReader(file.open())}
    assert (told['t.csv:2'], told['t.csv:3']) == (('drop', ''), ('relabel', 'a'))
    assert told['t.csv:43'][0] == 'drop'  # a placeholder: what is found now is stronger
    assert {told['t.csv:22'][0], told['t.csv:42'][0]} & {'drop'}
    load_data(DataSettings(source=source, exclude=str(file)))
    assert earlier_records('') == []
    written = [dataclasses.replace(every[0], id=name) for name in ('=a', "'=a")]
    assert len(cleaned_index(written)) == 1


def test_what_a_user_keeps_is_kept_after_a_second_audit(tmp_path):
    source = _written_csv(tmp_path, ['text,label', *(f'text {i},{"ab"[i % 2]}' for i in range(40))])
    first = index(tmp_path, 'train,t.csv:2,keep,,', 'train,t.csv:3,review,,', 'train,gone,keep,,')
    assert len(load_data(DataSettings(source=source, exclude=first)).train) == 26
    now = {'split': 'train', 'used_as': 'train', 'check': 'label errors', 'severity': 'warning'}
    found = [
        Record(id=name, action=action, **now)
        for name, action in (('t.csv:2', 'drop'), ('t.csv:3', 'drop'), ('t.csv:4', 'keep'))
    ]
    told = {
        one.id: one.action for one in cleaned_index(with_earlier(found, earlier_records(first)))
    }
    assert told == {'t.csv:2': 'keep', 't.csv:3': 'drop', 'gone': 'keep'}
    # Audits of before wrote such rows by themselves.
    earlier = [Record(id='t.csv:2', action='keep', **{**now, 'check': 'cut texts'})]
    assert cleaned_index(with_earlier(found[:1], earlier))[0].action == 'drop'


def test_names_that_a_table_holds_alike_are_refused(tmp_path):
    rows = ['text,label,split,id', *(f't{i},{"ab"[i % 2]},train,{i}' for i in range(20))]
    part = load_data(DataSettings(source=_written_csv(tmp_path, rows))).train
    parts = {'train': dataclasses.replace(part, ids=['=a', "'=a", *part.ids[2:]])}
    with pytest.raises(UserError, match='stands for two examples of'):
        excluded(parts, index(tmp_path, "train,'=a,drop,,"))
    left, _ = excluded(parts, index(tmp_path, 'train,=a,drop,,'))
    assert left['train'].ids[0] == "'=a"


def _written_csv(folder, rows):
    (folder / 't.csv').write_text('\n'.join(rows) + '\n')
    return f'csv:{folder}/t.csv'


def test_a_broken_file_that_is_left_out_is_not_opened(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(20):
        place = tmp_path / 'images' / 'ab'[i % 2] / f'{i}.png'
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)
    bad = tmp_path / 'images' / 'a' / '2.png'
    bad.write_bytes(bad.read_bytes()[:60])
    settings = {'source': f'folder:{tmp_path}/images'}
    with pytest.raises(UserError, match=r'2\.png'):
        load_data(DataSettings(**settings))
    file = index(tmp_path, 'train,a/2.png,drop,,broken')
    splits = load_data(DataSettings(**settings, exclude=file))
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 19
    assert len(load_data(DataSettings(**settings, verify='none')).train) == 13
