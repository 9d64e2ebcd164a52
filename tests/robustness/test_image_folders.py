"""Folders of images as people have them: names of splits, wrappers, links, odd file names."""

import os

import numpy as np
import pytest
from PIL import Image

from ftjax.data import DataSettings, load_data
from ftjax.data.load import load_test
from ftjax.data.sources.registry import read_source
from ftjax.data.sources.split_names import split_of
from ftjax.errors import UserError


def fill(folder, count=10, suffix='png', value=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(np.full((8, 8), value + i, np.uint8)).save(folder / f'{i}.{suffix}')


def sizes(folder, **settings):
    splits = load_data(DataSettings(source=f'folder:{folder}', **settings))
    return (len(splits.train), len(splits.val), len(splits.test)), splits.class_names


def refusal(folder, **settings):
    with pytest.raises(UserError) as error:
        load_data(DataSettings(source=f'folder:{folder}', **settings))
    assert '\n' not in str(error.value)
    return str(error.value)


def notes(folder, **settings):
    return load_data(DataSettings(source=f'folder:{folder}', **settings)).notes


@pytest.mark.parametrize(
    'tops',
    [
        ('train', 'test'),
        ('Train', 'Test'),
        ('TRAIN', 'VAL', 'TEST'),
        ('Training', 'Testing'),
        ('train', 'Val'),
        ('seg_train', 'seg_test'),
        ('training_set', 'test_set'),
        ('trainset', 'testset'),
        ('train2017', 'val2017'),
        ('images-train', 'Validation'),
    ],
)
def test_split_folders_are_known_by_any_spelling(tops, tmp_path):
    for top in tops:
        for name in ('cat', 'dog'):
            fill(tmp_path / top / name)
    found, names = sizes(tmp_path)
    assert names == ('cat', 'dog')
    assert sum(found) == 20 * len(tops)
    given = [split_of(top)[0] for top in tops if split_of(top)[0] != 'train']
    for split, count in zip(('train', 'val', 'test'), found, strict=True):
        assert (count == 20) == (split in given) or split == 'train'


@pytest.mark.parametrize(
    'name', ['station', 'contest', 'pretraining', 'testis', 'devil', 'train_and_test', 'valley']
)
def test_words_that_only_look_like_splits_are_none(name):
    assert split_of(name) is None


@pytest.mark.parametrize('names', [('bus', 'car', 'train'), ('test', 'val'), ('Test', 'cat')])
def test_a_class_may_be_called_as_a_split(names, tmp_path):
    for name in names:
        fill(tmp_path / name)
    assert sizes(tmp_path)[1] == tuple(sorted(names))


def test_splits_and_classes_side_by_side_are_refused_by_name(tmp_path):
    for name in ('cat', 'dog'):
        fill(tmp_path / 'Train' / name)
        fill(tmp_path / 'test' / name)
    fill(tmp_path / 'unlabelled')
    assert "'unlabelled' stands beside" in refusal(tmp_path)
    for path in tmp_path.glob('unlabelled/*'):
        path.unlink()
    (tmp_path / 'unlabelled').rmdir()
    fill(tmp_path / 'seg_val' / 'cat')
    assert 'are Train, seg_val, test splits or classes?' in refusal(tmp_path)


def test_one_word_beside_splits_is_refused_and_two_of_one_kind_too(tmp_path):
    for top in ('seg_train', 'seg_test', 'seg_pred'):
        for name in ('cat', 'dog'):
            fill(tmp_path / top / name)
    assert "'seg_pred' stands beside seg_t" in refusal(tmp_path)
    os.rename(tmp_path / 'seg_pred', tmp_path / 'seg_dev')
    os.rename(tmp_path / 'seg_test', tmp_path / 'seg_val')
    assert 'two folders for one split' in refusal(tmp_path)


def test_splits_with_loose_images_are_no_classes(tmp_path):
    fill(tmp_path / 'Train')
    fill(tmp_path / 'Test')
    assert '10 images but no class folders' in refusal(tmp_path)


def test_folders_around_the_classes_are_entered_and_that_is_said(tmp_path):
    for name in ('cat', 'dog'):
        fill(tmp_path / 'outer' / 'data set' / name)
    (tmp_path / '__MACOSX' / 'outer').mkdir(parents=True)
    (tmp_path / '__MACOSX' / 'outer' / '._0.png').write_bytes(b'')
    assert sizes(tmp_path) == ((13, 3, 4), ('cat', 'dog'))
    assert f'{tmp_path}: read outer/data set, the one folder in it' in notes(tmp_path)


def test_folders_around_the_classes_of_each_split_are_entered(tmp_path):
    for top in ('seg_train', 'seg_test'):
        for name in ('cat', 'dog'):
            fill(tmp_path / top / top / name)
    assert sizes(tmp_path) == ((17, 3, 20), ('cat', 'dog'))
    os.rename(tmp_path / 'seg_test' / 'seg_test', tmp_path / 'seg_test' / 'inner')
    assert sizes(tmp_path) == ((17, 3, 20), ('cat', 'dog'))


def test_a_folder_of_a_test_split_alone_is_no_class(tmp_path):
    for name in ('cat', 'dog'):
        fill(tmp_path / 'test' / name, 3)
    message = refusal(tmp_path)
    assert 'has test but no train folder' in message
    test = load_test(DataSettings(source=f'folder:{tmp_path}'))
    assert (len(test), test.class_names) == (6, ('cat', 'dog'))


def test_classes_with_an_underscore_are_read_and_empty_ones_passed_over(tmp_path):
    for name in ('cat', 'dog', '_background_'):
        fill(tmp_path / name)
    (tmp_path / '_notes').mkdir()
    assert sizes(tmp_path) == ((20, 4, 6), ('_background_', 'cat', 'dog'))


def test_linked_folders_and_files_are_read_once_and_circles_end(tmp_path):
    for name in ('cat', 'dog'):
        fill(tmp_path / 'd' / name, 6)
        fill(tmp_path / 'elsewhere' / name, 20)
        os.symlink(tmp_path / 'elsewhere' / name, tmp_path / 'd' / name / 'more')
        os.symlink(tmp_path / 'elsewhere' / name, tmp_path / 'd' / name / 'same')
        os.symlink(tmp_path / 'd', tmp_path / 'd' / name / 'circle')
    data = read_source(DataSettings(source=f'folder:{tmp_path}/d')).training
    assert np.bincount(data.labels).tolist() == [26, 26]
    assert sum('/more/' in path for path in data.inputs) == 40


def test_what_is_passed_over_is_counted_and_named(tmp_path):
    for name in ('cat', 'dog'):
        fill(tmp_path / name)
    for i in range(3):
        (tmp_path / 'cat' / f'{i}.heic').write_bytes(b'x')
    (tmp_path / 'dog' / 'README').write_text('x')
    (tmp_path / 'dog' / '.DS_Store').write_text('x')
    fill(tmp_path / 'dog' / '.ipynb_checkpoints', 2)
    fill(tmp_path, 2)
    told = notes(tmp_path)
    assert f'{tmp_path}: passed over 4 files that are no images (.heic 3, no suffix 1)' in told
    assert f'{tmp_path}: passed over 2 images that lie beside the class folders' in told
    assert f'{tmp_path}/dog/.ipynb_checkpoints: passed over, a hidden folder with images' in told
    assert len(told) == 3


def test_a_folder_within_a_class_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    for name in ('cat', 'dog'):
        fill(tmp_path / name / 'more')
    scan = os.scandir

    def closed(path='.'):
        if str(path).endswith('dog/more'):
            raise PermissionError(13, 'Permission denied', str(path))
        return scan(path)

    monkeypatch.setattr('os.scandir', closed)
    assert 'dog/more: may not be read' in refusal(tmp_path)


def latin1(folder, name):
    return os.path.join(os.fsencode(folder), name)


def test_names_that_are_not_utf8_are_read_and_shown_with_escapes(tmp_path):
    for name in ('cat', 'dog'):
        fill(tmp_path / name)
    os.rename(tmp_path / 'dog' / '0.png', latin1(tmp_path / 'dog', b'caf\xe9.png'))
    os.rename(tmp_path / 'cat', latin1(tmp_path, b'k\xe4tzchen'))
    splits = load_data(DataSettings(source=f'folder:{tmp_path}'))
    assert splits.class_names == ('dog', r'k\xe4tzchen')
    every = [i for part in (splits.train, splits.val, splits.test) for i in part.ids]
    assert r'dog/caf\xe9.png' in every and len(every) == 20
    assert len(splits.fingerprint) == 64
    for text in (*every, *splits.class_names, *splits.notes):
        text.encode()
    assert any('2 names that are not UTF-8' in note for note in splits.notes)


def test_class_names_in_settings_find_folders_that_are_not_utf8(tmp_path):
    for name in ('cat', 'dog'):
        fill(tmp_path / name)
    os.rename(tmp_path / 'cat', latin1(tmp_path, b'k\xe4tzchen'))
    names = ('dog', r'k\xe4tzchen')
    assert sizes(tmp_path, class_names=names)[1] == names


@pytest.mark.parametrize('kind', ['folder', 'csv', 'jsonl', 'npz'])
def test_one_class_is_refused_before_training(kind, tmp_path):
    if kind == 'folder':
        fill(tmp_path / 'd' / 'cat')
    elif kind == 'csv':
        (tmp_path / 'd').write_text('text,label\n' + 'x,cat\n' * 10)
    elif kind == 'jsonl':
        (tmp_path / 'd').write_text('{"text": "x", "label": "cat"}\n' * 10)
    else:
        with open(tmp_path / 'd', 'wb') as file:
            np.savez(file, x=np.zeros((10, 4, 4), np.uint8), y=np.full(10, 'cat'))
    with pytest.raises(UserError, match=r"one class only \('cat'\); expected two or more"):
        load_data(DataSettings(source=f'{kind}:{tmp_path}/d'))
