"""A cleaned index: examples left out and labels changed, without touching the data."""

import numpy as np
import pytest
from PIL import Image

from ftjax.data import DataSettings, load_data
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
