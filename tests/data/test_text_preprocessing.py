"""What a network expects of texts: found beside the weights, saved with them, checked."""

import dataclasses
import json
import shutil

import pytest

from ftjax.data.text.tokenize import tokenize
from ftjax.errors import UserError
from ftjax.models.registry import build
from ftjax.preprocessing.texts import TextPreprocessing, text_preprocessing
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import save_own


def test_it_comes_with_the_checkpoint(bert):
    found = bert.preprocessing
    assert isinstance(found, TextPreprocessing)
    assert found.max_length == 512 and found.buckets == (16, 32, 64, 128, 256, 512)
    assert found.token_types and found.separator is None
    opened = found.open()
    assert found.pad_id == opened.token_to_id('[PAD]')
    assert found.mask_id == opened.token_to_id('[MASK]')
    assert any('preprocessing: tokenizer.json' in note for note in bert.report.notes)


def test_it_is_saved_with_the_weights_and_needs_nothing_else(bert, tmp_path):
    source = tmp_path / 'source'
    shutil.copytree(bert.tokenizer.parent, source)
    opened = load_pretrained(str(source))
    mine = opened.preprocessing.with_length(48)
    folder = save_own(tmp_path / 'saved', opened.network, opened.variables, mine)
    shutil.rmtree(source)
    again = load_pretrained(str(folder))
    assert again.preprocessing == mine
    assert again.preprocessing.buckets == (16, 32, 48)
    assert again.preprocessing.tokenizer == str(folder / 'tokenizer.json')
    one = tokenize(['return the value'], again.preprocessing).ids
    two = tokenize(['return the value'], bert.preprocessing).ids
    assert one.tolist() == two.tolist()
    fields = json.loads((folder / 'config.json').read_text())['preprocessing']
    assert fields['tokenizer'] == 'tokenizer.json' and str(tmp_path) not in json.dumps(fields)


def test_a_vocabulary_alone_gives_the_same_tokens(bert, tokenizer_folder, tmp_path, sentences):
    shutil.copy(tokenizer_folder / 'vocab.txt', tmp_path)
    found = text_preprocessing(bert.network, tmp_path)
    want = tokenize(sentences, bert.preprocessing)
    assert tokenize(sentences, found).ids.tolist() == want.ids.tolist()
    # And is saved as a tokenizer.json.
    folder = save_own(tmp_path / 'saved', bert.network, bert.variables, found)
    again = load_pretrained(str(folder)).preprocessing
    assert again == found and again.tokenizer.endswith('tokenizer.json')
    assert tokenize(sentences, again).ids.tolist() == want.ids.tolist()
    (tmp_path / 'tokenizer_config.json').write_text('{"do_lower_case": false}')
    assert text_preprocessing(bert.network, tmp_path).sha256 != found.sha256


def test_the_flags_of_a_bert_are_those_of_tokenizer_config(bert, tokenizer_folder, tmp_path):
    file = tmp_path / 'tokenizer.json'
    shutil.copy(tokenizer_folder / 'tokenizer.json', file)
    plain = text_preprocessing(bert.network, tmp_path)
    assert plain.tokenizer_json() == file.read_text()

    def normalizer(**config):
        (tmp_path / 'tokenizer_config.json').write_text(json.dumps(config))
        found = text_preprocessing(bert.network, tmp_path)
        return json.loads(found.tokenizer_json())['normalizer'], found.open()

    flags, opened = normalizer(do_lower_case=False, tokenizer_class='BertTokenizer')
    assert flags['lowercase'] is False
    assert opened.normalizer.normalize_str('Name') == 'Name'
    assert normalizer(strip_accents=True)[0]['strip_accents'] is True
    assert normalizer(do_lower_case=None, tokenize_chinese_chars=False)[0] == {
        **json.loads(file.read_text())['normalizer'],
        'handle_chinese_chars': False,
    }
    # A class that takes the file as it is, and flags that agree.
    for same in (
        {'do_lower_case': False, 'tokenizer_class': 'PreTrainedTokenizerFast'},
        {'do_lower_case': True},
    ):
        (tmp_path / 'tokenizer_config.json').write_text(json.dumps(same))
        assert text_preprocessing(bert.network, tmp_path).tokenizer_json() == file.read_text()


def test_another_tokenizer_in_its_place_is_noticed(bert, tmp_path):
    shutil.copytree(bert.tokenizer.parent, tmp_path / 'net')
    opened = load_pretrained(str(tmp_path / 'net'))
    folder = save_own(tmp_path / 'saved', opened.network, opened.variables, opened.preprocessing)
    text = (folder / 'tokenizer.json').read_text()
    assert '"lowercase": true' in text
    (folder / 'tokenizer.json').write_text(text.replace('"lowercase": true', '"lowercase": false'))
    again = load_pretrained(str(folder))
    with pytest.raises(UserError, match='not the tokenizer'):
        again.preprocessing.open()
    with pytest.raises(UserError, match='not the tokenizer'):
        save_own(tmp_path / 'third', again.network, again.variables, again.preprocessing)
    (folder / 'tokenizer.json').unlink()
    with pytest.raises(UserError, match='cannot be read'):
        again.preprocessing.open()


def test_a_broken_tokenizer_hinders_only_who_needs_it(bert, tmp_path):
    shutil.copytree(bert.tokenizer.parent, tmp_path / 'net')
    (tmp_path / 'net' / 'tokenizer.json').write_text('{"model": 1}')
    found = load_pretrained(str(tmp_path / 'net'))
    assert found.preprocessing is None
    assert 'is no tokenizer' in ' '.join(found.report.notes)
    with pytest.raises(UserError, match='is no tokenizer'):
        text_preprocessing(bert.network, tmp_path / 'net')
    with pytest.raises(UserError, match='no tokenizer'):
        text_preprocessing(bert.network, tmp_path)
    (tmp_path / 'vocab.txt').write_text('a\nb\n')
    with pytest.raises(UserError, match=r'no \[UNK\]'):
        text_preprocessing(bert.network, tmp_path)


@pytest.mark.parametrize(
    'name, options, want',
    [
        # RoBERTa's positions are counted by the network's own padding, and start above it.
        ('roberta', {'max_positions': 34, 'pad_id': 1}, {'pad_id': 1, 'max_length': 32}),
        ('distilbert', {'max_positions': 40}, {'pad_id': 0, 'max_length': 40}),
        ('gpt2', {'max_positions': 40}, {'pad_id': 0, 'max_length': 40}),
        ('gpt2', {'max_positions': 4096}, {'max_length': 512}),
    ],
)
def test_the_network_decides_padding_and_length(name, options, want, tokenizer_folder):
    sizes = {'width': 8, 'depth': 1, 'heads': 1, 'num_classes': 2, 'vocab_size': 500}
    found = text_preprocessing(build(name, {**sizes, **options}), tokenizer_folder)
    assert {key: getattr(found, key) for key in want} == want
    assert not found.token_types and found.separator is None


def test_a_network_of_images_has_none():
    network = build('vit', {'depth': 1, 'width': 8, 'heads': 1})
    assert text_preprocessing(network, 'nowhere') is None


def test_a_tokenizer_without_a_form_for_pairs_joins_them(tmp_path, sentences):
    from tokenizers.implementations import ByteLevelBPETokenizer

    made = ByteLevelBPETokenizer()
    made.train_from_iterator(
        sentences, vocab_size=400, special_tokens=['<|endoftext|>'], show_progress=False
    )
    made.save(str(tmp_path / 'tokenizer.json'))
    sizes = {'width': 8, 'depth': 1, 'heads': 1, 'num_classes': 2, 'vocab_size': 400}
    found = text_preprocessing(build('gpt2', sizes), tmp_path)
    assert (found.separator, found.mask_id) == ('\n', None)
    assert found.pad_id == found.open().token_to_id('<|endoftext|>')
    pair = tokenize([('one', 'two')], found)
    assert found.open().decode(pair.ids) == 'one\ntwo'


def test_equal_if_they_do_the_same(bert):
    other = dataclasses.replace(bert.preprocessing, tokenizer='elsewhere')
    assert other == bert.preprocessing and hash(other) == hash(bert.preprocessing)
    assert dataclasses.replace(other, sha256='0') != bert.preprocessing


def test_lengths():
    text = TextPreprocessing(tokenizer='t', sha256='', vocab_size=9, max_length=100)
    assert text.buckets == (16, 32, 64, 100)
    assert text.with_length(None) is text.with_length(200) is text
    assert text.with_length(32).buckets == (16, 32)
    assert text.with_length(8).buckets == (8,)
    assert text.of_length(32) == text.with_length(32)
    assert text.of_length(100) is text
    assert text.of_length(900).buckets == (16, 32, 64, 100, 200, 400, 800, 900)
    assert text.of_length(200).buckets == (16, 32, 64, 100, 200)
    for wrong in ({'max_length': 3}, {'buckets': (64, 16)}, {'buckets': (16, 64)}):
        with pytest.raises(UserError):
            TextPreprocessing(
                tokenizer='t', sha256='', vocab_size=9, **{'max_length': 100, **wrong}
            )
    with pytest.raises(UserError, match="'max_length'"):
        TextPreprocessing.from_json({**text.to_json(), 'max_lenght': 5}, '.')
    fields = text.to_json()
    del fields['sha256']
    with pytest.raises(UserError, match='sha256 is missing'):
        TextPreprocessing.from_json(fields, '.')


def test_a_saved_path_leads_nowhere_else(tmp_path):
    text = TextPreprocessing(tokenizer='t', sha256='', vocab_size=9)
    fields = {**text.to_json(), 'tokenizer': '/etc/../etc/passwd'}
    found = TextPreprocessing.from_json(fields, tmp_path)
    assert found.tokenizer == str(tmp_path / 'passwd')


def test_the_tokenizer_of_another_network_is_refused(bert, tokenizer_folder):
    small = build('bert', {'vocab_size': 100, 'width': 8, 'depth': 1, 'heads': 1, 'num_classes': 2})
    found = text_preprocessing(small, tokenizer_folder)
    with pytest.raises(UserError, match=r'the network knows 100 .* of another network'):
        tokenize(['a message about values'], found)


def test_random_weights_of_a_folder_have_its_tokenizer(bert):
    found = load_pretrained(f'random:{bert.tokenizer.parent}', num_classes=2)
    assert found.preprocessing == bert.preprocessing


def test_a_folder_for_transformers_carries_the_tokenizer(bert, tmp_path):
    from ftjax.export.huggingface import save_huggingface

    network = build(
        'bert',
        {'vocab_size': 500, 'width': 16, 'depth': 1, 'heads': 2, 'mlp_dim': 8, 'num_classes': 2},
    )
    variables = random_variables(network, 0)
    folder = save_huggingface(tmp_path / 'hf', network, variables, bert.preprocessing)
    assert load_pretrained(str(folder)).preprocessing.sha256 == bert.preprocessing.sha256
    assert not (folder / 'preprocessor_config.json').exists()
