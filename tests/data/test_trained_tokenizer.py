"""A tokenizer made from the training texts."""

import pytest

from ftjax.data import DataSettings
from ftjax.data.text.trained_tokenizer import BYTES, END, trained_tokenizer
from ftjax.errors import UserError
from ftjax.preprocessing.tokenizer import open_tokenizer, special_id


def test_it_is_a_bert_tokenizer_of_the_size_asked_for_and_is_found_again(sentences):
    path = trained_tokenizer(sentences, 300)
    tokenizer = open_tokenizer(path)
    assert 200 < tokenizer.get_vocab_size() <= 300
    assert special_id(tokenizer, 'mask', {}) is not None and special_id(tokenizer, 'pad', {}) == 0
    code = tokenizer.encode('The same', 'OBJECT')
    assert [code.tokens[0], code.tokens[-1]] == ['[CLS]', '[SEP]'] and 'the' in code.tokens
    assert code.type_ids[-1] == 1
    written = path.stat().st_mtime_ns
    assert trained_tokenizer(sentences, 300) == path and path.stat().st_mtime_ns == written
    assert trained_tokenizer(sentences[1:], 300) != path != trained_tokenizer(sentences, 301)
    assert [each.suffix for each in path.parent.iterdir()] == ['.json'] * 3


@pytest.mark.parametrize('size', ['', 'many', '12', '-300'])
def test_a_size_that_cannot_be_is_named(size):
    with pytest.raises(UserError, match=r'wordpiece:SIZE, SIZE >= 100'):
        DataSettings(tokenizer=f'wordpiece:{size}')


def test_a_misspelt_word_before_the_size_is_named():
    with pytest.raises(UserError, match=r"'wordpeice:200'.*did you mean wordpiece:SIZE"):
        DataSettings(tokenizer='wordpeice:200')


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'file'))
    with pytest.raises(UserError, match='FTJAX_CACHE'):
        trained_tokenizer(['some words'], 200)


def test_a_tokenizer_of_bytes_spells_any_text_and_gives_it_back(sentences):
    tokenizer = open_tokenizer(trained_tokenizer(sentences, 400, BYTES))
    assert 300 < tokenizer.get_vocab_size() <= 400
    assert special_id(tokenizer, 'eos', {}) == tokenizer.token_to_id(END) == 0
    text = 'Zwölf  Boxkämpfer, \u4e2d\u6587!\n'
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
