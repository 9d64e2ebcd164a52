"""Class folders: layouts that are read, and those that are refused by name."""

import shutil

import numpy as np
import pytest
from PIL import Image

from ftjax.data import DataSettings, load_data
from ftjax.data.sources.registry import read_source
from ftjax.errors import UserError


def fill(folder, names, count=4, value=0):
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.full((8, 8, 3), value + i, np.uint8)
            Image.fromarray(pixels).save(folder / name / f'{i}.png')


def refusal(source, **settings):
    with pytest.raises(UserError) as error:
        load_data(DataSettings(source=source, **settings))
    assert '\n' not in str(error.value)
    return str(error.value)


def test_folders_are_classes_and_other_files_are_passed_over(tmp_path):
    fill(tmp_path / 'pets', ['dogs', 'cats'], 10)
    (tmp_path / 'pets' / 'README.txt').write_text('pets')
    (tmp_path / 'pets' / 'cats' / '.hidden.png').write_bytes(b'')
    (tmp_path / 'pets' / '.git').mkdir()
    (tmp_path / 'pets' / 'cats' / 'more').mkdir()
    shutil.copy(tmp_path / 'pets/cats/0.png', tmp_path / 'pets/cats/more/0.PNG')
    data = read_source(DataSettings(source=f'folder:{tmp_path}/pets')).train
    assert data.class_names == ('cats', 'dogs')
    assert len(data) == 21
    assert data.ids[data.labels == 0].tolist()[-1] == 'cats/more/0.PNG'
    assert all(
        ('cats' in i) == (label == 0) for i, label in zip(data.ids, data.labels, strict=True)
    )


def test_given_splits_are_kept_and_the_missing_one_is_cut_from_training(tmp_path):
    fill(tmp_path / 'train', ['a', 'b'], 10)
    fill(tmp_path / 'validation', ['a', 'b'], 3)
    splits = load_data(DataSettings(source=f'folder:{tmp_path}', test_fraction=0.3))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (14, 6, 6)
    assert all(i.startswith('validation/') for i in splits.val.ids)
    assert all(i.startswith('train/') for i in splits.test.ids)


def test_a_class_may_be_called_test(tmp_path):
    fill(tmp_path, ['test', 'val'], 4)
    assert read_source(DataSettings(source=f'folder:{tmp_path}')).train.class_names == (
        'test',
        'val',
    )


def test_the_fingerprint_does_not_depend_on_the_place(tmp_path):
    fill(tmp_path / 'here', ['a', 'b'])
    shutil.copytree(tmp_path / 'here', tmp_path / 'there')
    here, there = (
        load_data(DataSettings(source=f'folder:{tmp_path}/{p}')) for p in ('here', 'there')
    )
    assert here.fingerprint == there.fingerprint


def test_class_names_fix_the_order(tmp_path):
    fill(tmp_path, ['a', 'b', 'c'])
    data = read_source(DataSettings(source=f'folder:{tmp_path}', class_names=('c', 'a', 'b'))).train
    assert data.labels[data.ids.tolist().index('c/0.png')] == 0
    message = refusal(f'folder:{tmp_path}', class_names=('a', 'b'))
    assert "'c'" in message
    message = refusal(f'folder:{tmp_path}', class_names=('a', 'b', 'c', 'd'))
    assert "'d'" in message


def test_a_missing_folder_names_its_nearest_sibling(tmp_path):
    fill(tmp_path / 'hymenoptera', ['ants'])
    assert "did you mean 'hymenoptera'" in refusal(f'folder:{tmp_path}/hymenptera')
    assert "did you mean 'hymenoptera'" in refusal(f'folder:{tmp_path}/hymenptera/train')
    (tmp_path / 'file').write_text('')
    assert 'is a file' in refusal(f'folder:{tmp_path}/file')


def test_an_empty_class_is_named(tmp_path):
    fill(tmp_path, ['bees', 'wasps'])
    (tmp_path / 'ants').mkdir()
    (tmp_path / 'ants' / 'notes.txt').write_text('')
    message = refusal(f'folder:{tmp_path}')
    assert "class 'ants' is empty" in message and 'remove the folder' in message


def test_no_images_and_no_class_folders(tmp_path):
    assert 'no images' in refusal(f'folder:{tmp_path}')
    (tmp_path / 'a').mkdir()
    assert 'no images' in refusal(f'folder:{tmp_path}')
    shutil.rmtree(tmp_path / 'a')
    Image.new('RGB', (4, 4)).save(tmp_path / 'x.png')
    assert '1 images but no class folders' in refusal(f'folder:{tmp_path}')


def test_a_class_that_training_lacks_and_a_stray_folder(tmp_path):
    fill(tmp_path / 'train', ['ants', 'bees'])
    fill(tmp_path / 'val', ['ant', 'bees'])
    message = refusal(f'folder:{tmp_path}')
    assert "'ant'" in message and "'ants'" in message
    shutil.rmtree(tmp_path / 'val')
    (tmp_path / 'extra').mkdir()
    assert "'extra'" in refusal(f'folder:{tmp_path}')
    (tmp_path / 'extra').rename(tmp_path / 'training')
    assert 'two folders for one split' in refusal(f'folder:{tmp_path}')


def test_a_jpeg_cut_short_is_found_at_loading(tmp_path):
    fill(tmp_path, ['a', 'b'])
    Image.effect_noise((64, 64), 50).save(tmp_path / 'a' / 'x.jpg')
    whole = (tmp_path / 'a' / 'x.jpg').read_bytes()
    (tmp_path / 'a' / 'x.jpg').write_bytes(whole[: len(whole) // 2])
    message = refusal(f'folder:{tmp_path}')
    assert str(tmp_path / 'a' / 'x.jpg') in message and 'replace or remove' in message
    # Headers alone do not tell; the loop's reader then does.
    assert len(load_data(DataSettings(source=f'folder:{tmp_path}', verify='headers')).train)


def test_too_few_for_a_split(tmp_path):
    fill(tmp_path, ['a', 'b'], 1)
    assert 'too few' in refusal(f'folder:{tmp_path}')
    assert 'cannot hold out' in refusal(f'folder:{tmp_path}', test_fraction=0.5)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    fill(tmp_path, ['a', 'b'])

    def closed(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr('pathlib.Path.iterdir', closed)
    assert 'check its permissions' in refusal(f'folder:{tmp_path}')


def test_values_do_not_come_in_folders(tmp_path):
    fill(tmp_path, ['a', 'b'])
    assert 'csv:' in refusal(f'folder:{tmp_path}', task='regression')


def test_the_data_folder_variable(tmp_path, monkeypatch):
    fill(tmp_path / 'pets', ['a', 'b'])
    monkeypatch.setenv('FTJAX_DATA', str(tmp_path))
    data = read_source(DataSettings(source='folder:$FTJAX_DATA/pets')).train
    assert len(data) == 8
