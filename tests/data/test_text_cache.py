"""Tokens kept on disk: found again, told apart, made again when damaged, never required."""

import dataclasses
import logging
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from ftjax.data.text import token_cache
from ftjax.data.text.token_cache import cached_tokens, key_of
from ftjax.io.files.cache_folder import cache_folder


@pytest.fixture
def prep(bert):
    return bert.preprocessing


@pytest.fixture
def counted(monkeypatch):
    """Counts how often texts are really tokenised."""
    calls = []
    real = token_cache.tokenize

    def tokenize(*args, **kwargs):
        calls.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(token_cache, 'tokenize', tokenize)
    return calls


def files():
    return sorted((cache_folder() / 'tokens').iterdir())


def same(one, two):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(two, field.name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_tokens_are_made_once(texts, prep, counted):
    first = cached_tokens(texts.inputs, prep)
    again = cached_tokens(texts.inputs, prep)
    same(first, again)
    assert len(counted) == 1
    (file,) = files()
    assert file.suffix == '.npz' and not file.name.startswith('.')
    with np.load(file, allow_pickle=False) as arrays:
        assert set(arrays) == {'ids', 'types', 'special', 'starts', 'cut', 'checksum'}


def test_whatever_changes_the_tokens_changes_the_key(texts, prep):
    keys = {
        key_of(data.inputs, preprocessing)
        for data, preprocessing in (
            (texts, prep),
            (texts.take(range(5)), prep),
            (texts.take([1, 0, 2, 3, 4]), prep),
            (texts, prep.with_length(32)),
            (texts, dataclasses.replace(prep, sha256='0')),
            (texts, dataclasses.replace(prep, separator=' ')),
        )
    }
    assert len(keys) == 6
    # Where the tokenizer lies, and how batches are padded, does not.
    other = dataclasses.replace(prep, tokenizer='x', buckets=(512,))
    assert key_of(texts.inputs, other) in keys
    pairs = np.array([['a', 'b'], ['c', 'd']], object)
    assert key_of(pairs, prep) != key_of(pairs.reshape(-1), prep)


@pytest.mark.parametrize('damage', ['flip', 'cut', 'empty', 'garbage', 'other'])
def test_a_damaged_file_is_noticed_and_made_again(texts, prep, counted, damage, caplog):
    first = cached_tokens(texts.inputs, prep)
    (file,) = files()
    data = bytearray(file.read_bytes())
    if damage == 'flip':
        data[len(data) // 3] ^= 1
    elif damage == 'cut':
        data = data[: len(data) // 2]
    elif damage == 'empty':
        data = b''
    elif damage == 'garbage':
        data = b'\x80\x04 no archive'
    file.write_bytes(data)
    if damage == 'other':  # a whole file of other tokens: every part of it reads well
        np.savez(file, ids=np.arange(3), types=0, special=0, starts=0, checksum=np.zeros(32, 'u1'))
    with caplog.at_level(logging.WARNING, 'ftjax'):
        same(cached_tokens(texts.inputs, prep), first)
    assert len(counted) == 2
    assert 'is damaged' in caplog.text
    same(cached_tokens(texts.inputs, prep), first)
    assert len(counted) == 2  # it was put right on disk too


def test_a_file_of_objects_is_not_loaded(texts, prep, counted, tmp_path):
    cached_tokens(texts.inputs, prep)
    (file,) = files()

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'trapped'),)

    np.savez(file, ids=np.array([Trap()], object), types=0, special=0, starts=0, checksum=0)
    cached_tokens(texts.inputs, prep)
    assert len(counted) == 2 and not (tmp_path / 'trapped').exists()


def test_without_a_folder_to_write_tokens_stay_in_memory(
    texts, prep, counted, tmp_path, monkeypatch
):
    first = cached_tokens(texts.inputs, prep)
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'file'))
    same(cached_tokens(texts.inputs, prep), first)
    same(cached_tokens(texts.inputs, prep), first)
    assert len(counted) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_read_only_folder(texts, prep, counted, tmp_path, monkeypatch):
    (tmp_path / 'ro').mkdir(mode=0o500)
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'ro'))
    cached_tokens(texts.inputs, prep)
    assert list((tmp_path / 'ro').iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(texts, prep, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', full)
    cached_tokens(texts.inputs, prep)
    assert files() == []


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    monkeypatch.delenv('FTJAX_CACHE')
    assert cache_folder() == tmp_path / 'xdg' / 'ftjax'
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert cache_folder() == pathlib.Path('~/.cache/ftjax').expanduser()


def test_data_without_texts_never_load_the_library():
    code = (
        'import sys\n'
        'from ftjax.data import DataSettings, TrainStream, load_data\n'
        'TrainStream(load_data(DataSettings()).train, 4, 0).batch(0)\n'
        'assert "tokenizers" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True, env={**os.environ})
