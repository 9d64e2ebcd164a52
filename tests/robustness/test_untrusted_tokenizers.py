"""Tokenizers from outside: a panic, an abort or a hang of the library ends a child, not a run."""

import json
import subprocess
import sys

import numpy as np
import pytest

from ftjax.data.text.tokenize import tokenize
from ftjax.errors import UserError
from ftjax.models.registry import build
from ftjax.preprocessing import tokenizer_trial
from ftjax.preprocessing.texts import TextPreprocessing, text_preprocessing
from ftjax.preprocessing.tokenizer import open_tokenizer

WORDS = {'[UNK]': 0, '[CLS]': 1, 'a': 2, 'b': 3}
PLAIN = {
    'version': '1.0',
    'added_tokens': [],
    'pre_tokenizer': {'type': 'Whitespace'},
    'model': {'type': 'WordLevel', 'vocab': WORDS, 'unk_token': '[UNK]'},
}


def template(single, special):
    """A post-processor with [CLS] before a single text, and, or but, nothing around a pair."""
    text, second = ({'Sequence': {'id': each, 'type_id': 0}} for each in 'AB')
    cls = {'SpecialToken': {'id': '[CLS]', 'type_id': 0}}
    return {
        'type': 'TemplateProcessing',
        'single': [cls, text] if single else [text],
        'pair': [text, second] if single else [cls, text, second],
        'special_tokens': special,
    }


def replace(pattern, content):
    return {'type': 'Replace', 'pattern': {'Regex': pattern}, 'content': content}


CLS = {'[CLS]': {'id': '[CLS]', 'ids': [1], 'tokens': ['[CLS]']}}
HOSTILE = {
    'bad precompiled map': {'normalizer': {'type': 'Precompiled', 'precompiled_charsmap': 'AAAA'}},
    'special token missing from the table': {'post_processor': template(True, {})},
    'special token of pairs missing': {'post_processor': template(False, {})},
    'catastrophic expression': {
        'pre_tokenizer': {
            'type': 'Split',
            'pattern': {'Regex': '(a+)+$'},
            'behavior': 'Isolated',
            'invert': False,
        }
    },
    'every character by 1 MB': {'normalizer': replace('.', 'x' * 2**20)},
    'a rare character by 1 MB': {'normalizer': replace('\u2603', 'x' * 2**20)},
    'a little, many times': {
        'normalizer': {'type': 'Sequence', 'normalizers': [replace('.', 'x' * 20)] * 8}
    },
}


@pytest.fixture(autouse=True)
def empty_memory(tmp_path, monkeypatch):
    """Nothing is remembered of an earlier trial."""
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(tokenizer_trial, '_passed', set())


def write(folder, **changes):
    file = folder / 'tokenizer.json'
    file.write_text(json.dumps({**PLAIN, **changes}))
    return file


@pytest.mark.parametrize('name', HOSTILE)
def test_a_hostile_tokenizer_is_one_line(tmp_path, name):
    file = write(tmp_path, **HOSTILE[name])
    with pytest.raises(UserError, match=r'tokenizer\.json is no') as caught:
        open_tokenizer(file)
    assert '\n' not in str(caught.value)


def test_a_good_one_is_tried_once_and_remembered_by_its_hash(tmp_path, monkeypatch):
    calls = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, 'run', lambda *a, **k: calls.append(1) or run(*a, **k))
    good = write(tmp_path, post_processor=template(True, CLS))
    assert open_tokenizer(good).encode('a b x').ids == [1, 2, 3, 0]
    open_tokenizer(good)
    assert calls == [1]
    monkeypatch.setattr(tokenizer_trial, '_passed', set())  # another process
    open_tokenizer(good)
    assert calls == [1]
    write(tmp_path)  # another tokenizer under the same name
    open_tokenizer(good)
    assert calls == [1, 1]
    shipped = sorted(tokenizer_trial._OURS.glob('*/tokenizer.json'))
    assert [open_tokenizer(file).get_vocab_size() > 0 for file in shipped] and calls == [1, 1]


def test_what_a_child_does_is_told(tmp_path, monkeypatch):
    """One that is ended by the system, and one that does not come to an end."""
    file = write(tmp_path)
    child = tmp_path / 'child.py'
    monkeypatch.setattr(tokenizer_trial, '_CHILD', child)
    child.write_text('import os; os.abort()')
    with pytest.raises(UserError, match=r'ended its process over it.*signal 6'):
        open_tokenizer(file)
    child.write_text('import time; time.sleep(60)')
    monkeypatch.setattr(tokenizer_trial, 'SECONDS', 0.1)
    with pytest.raises(UserError, match=r'take it more than 0\.1 s'):
        open_tokenizer(file)
    tokenizer_trial._trial_version.cache_clear()


def test_the_child_has_little_memory():
    """What the trial does not foresee ends the child: here a list that grows."""
    code = (
        'import sys; sys.argv = ["x", "20"]\n'
        f'sys.path.insert(0, {str(tokenizer_trial._CHILD.parent)!r})\n'
        'from tokenizer_child import limit\n'
        'limit(20, 0)\n'
        'bytearray(2**34)'
    )
    done = subprocess.run([sys.executable, '-P', '-c', code], capture_output=True, check=False)
    assert b'MemoryError' in done.stderr


class Panics:
    def encode_batch_fast(self, texts, add_special_tokens):
        class PanicException(BaseException):
            pass

        raise PanicException('Onig: Regex search error:\nretry-limit-in-match over')


def test_a_panic_over_a_text_is_one_line_that_names_the_data(tmp_path):
    text = TextPreprocessing(tokenizer=str(write(tmp_path)), sha256='', vocab_size=9)
    with pytest.raises(UserError, match='train: the tokenizer failed on one of rows 1 to 2 '):
        tokenize(['a', 'b'], text, 'train', Panics())
    found = tokenize(['a', 'b'], text, 'train', open_tokenizer(tmp_path / 'tokenizer.json'))
    np.testing.assert_array_equal(found.ids, [2, 3])


@pytest.mark.parametrize(
    'text',
    [
        '[' * 10_000,
        '[]',
        'not json',
        '{"do_lower_case": "no"}',
        '{"strip_accents": 5}',
        '{"pad_token": [1]}',
    ],
)
def test_a_broken_tokenizer_config_is_not_passed_over(tmp_path, text):
    """It decides on capitals: without it a cased vocabulary would be read in lower case."""
    (tmp_path / 'vocab.txt').write_text('\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a']))
    (tmp_path / 'tokenizer_config.json').write_text(text)
    bert = build('bert', {'vocab_size': 9, 'width': 4, 'depth': 1, 'heads': 2, 'mlp_dim': 8})
    with pytest.raises(UserError, match=r'tokenizer_config\.json'):
        text_preprocessing(bert, tmp_path)
    (tmp_path / 'tokenizer_config.json').write_text('{"do_lower_case": false, "extra": NaN}')
    assert text_preprocessing(bert, tmp_path).vocab_size == 9


@pytest.mark.parametrize(
    'changes',
    [{'vocab_size': 0}, {'buckets': [1.5]}, {'max_length': '9'}, {'pad_id': -1}, {'tokenizer': 5}],
)
def test_the_preprocessing_of_texts_in_our_config_is_checked(tmp_path, changes):
    good = TextPreprocessing(tokenizer='t', sha256='', vocab_size=9).to_json()
    del good['kind']
    assert TextPreprocessing.from_json(good, tmp_path).vocab_size == 9
    with pytest.raises(UserError, match=next(iter(changes))):
        TextPreprocessing.from_json({**good, **changes}, tmp_path)
