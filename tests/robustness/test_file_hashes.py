"""Files are known by all their bytes, and read once while they do not change."""

import os
import sqlite3

import numpy as np
import pytest

from ftjax.data import Dataset
from ftjax.data.sources.tfds_records import Records
from ftjax.errors import UserError
from ftjax.io.files import file_hashes as hashes

LONG = bytes(range(256)) * 64  # 16 KiB: more than the edges that were looked at once


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """A cache folder of its own, nothing remembered, and files that count as settled at once."""
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(hashes, 'SETTLED', -1.0)
    hashes._KNOWN.clear()


@pytest.fixture
def reads(monkeypatch):
    """The files that were read, in order."""
    found, hashed = [], hashes._hashed

    def counted(places):
        found.extend(map(str, places.values()))
        return hashed(places)

    monkeypatch.setattr(hashes, '_hashed', counted)
    return found


def change_in_the_middle(path):
    """Another byte far from both ends; length and mtime as before."""
    before = os.stat(path)
    with open(path, 'r+b') as file:
        file.seek(len(LONG) // 2)
        file.write(b'\xff\x00')
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(path).st_size == before.st_size
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns


def write(path, content=LONG):
    path.write_bytes(content)
    return str(path)


def test_a_file_is_read_once_in_this_process_and_in_the_next(tmp_path, reads):
    paths = [write(tmp_path / name) for name in 'ab']
    first = hashes.file_hashes(paths)
    assert first[0] == first[1] and len(first[0]) == 64 and len(reads) == 2
    assert hashes.file_hashes(paths) == first
    hashes._KNOWN.clear()  # as in a new process
    assert hashes.file_hashes([*paths, paths[0]]) == [*first, first[0]]
    assert len(reads) == 2


@pytest.mark.parametrize(
    'change',
    [
        change_in_the_middle,
        lambda path: write(path.with_name('new')) and os.replace(write_other(path), path),
        lambda path: path.write_bytes(LONG + b'x'),
    ],
    ids=['in_place', 'replaced', 'longer'],
)
def test_a_change_is_seen_whatever_the_clock_says(tmp_path, change):
    path = tmp_path / 'file'
    before = hashes.file_hashes([write(path)])
    change(path)
    assert hashes.file_hashes([path]) != before


def write_other(path):
    """A file of the same length and mtime as another, beside it."""
    other, was = path.with_name('other'), os.stat(path)
    write(other, LONG[::-1])
    os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    return other


def test_what_was_written_just_now_is_not_remembered(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(hashes, 'SETTLED', 60.0)
    path = write(tmp_path / 'file')
    assert hashes.file_hashes([path]) == hashes.file_hashes([path])
    assert len(reads) == 2


def test_a_damaged_memory_is_made_again(tmp_path, reads):
    path = write(tmp_path / 'file')
    found = hashes.file_hashes([path])
    place = tmp_path / 'cache' / 'file_hashes.sqlite'
    with sqlite3.connect(place) as base:  # a flipped bit in a hash
        base.execute("UPDATE files SET sha256 = 'f' || substr(sha256, 2)")
    for damage in (lambda: None, lambda: place.write_bytes(b'no database' * 999), place.unlink):
        hashes._KNOWN.clear()
        damage()
        assert hashes.file_hashes([path]) == found
    hashes._KNOWN.clear()
    assert hashes.file_hashes([path]) == found


def test_without_a_place_to_remember_in_all_works(tmp_path, monkeypatch):
    (tmp_path / 'file').write_bytes(LONG)
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'file' / 'below'))
    assert len(hashes.file_hashes([tmp_path / 'file'])[0]) == 64


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for name in ('absent', 'pipe', '.', 'nul\0'):
        with pytest.raises(UserError, match=r'cannot be read|expected a file'):
            hashes.file_hashes([f'{tmp_path}/{name}'])


def test_a_split_of_files_sees_a_change_in_the_middle_of_one(tmp_path):
    paths = [write(tmp_path / f'{n}.bmp') for n in range(3)]
    data = Dataset(
        name='d', kind='image_file', inputs=paths, labels=[0, 1, 0], class_names=('a', 'b')
    )
    before = data.fingerprint
    assert data.take([0, 1, 2]).fingerprint == before
    change_in_the_middle(tmp_path / '1.bmp')
    assert data.fingerprint != before  # of the same object: files are read while a run is going
    assert data.take([0, 2]).fingerprint == data.take([0, 2]).fingerprint
    (tmp_path / '2.bmp').unlink()
    with pytest.raises(UserError, match=r'2\.bmp: cannot be read'):
        _ = data.fingerprint


def test_records_are_known_by_their_shards(tmp_path):
    shard = write(tmp_path / 'x.array_record')
    records = Records(None, 'image', np.arange(4), 'set/1.0.0 train', (shard,))
    before = records.signature, records[np.array([1])].signature
    assert before[0] != before[1]
    change_in_the_middle(tmp_path / 'x.array_record')
    after = records.signature, records[np.array([1])].signature
    assert before[0] != after[0] and before[1] != after[1]
