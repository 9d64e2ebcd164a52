"""Makes tiny_networks.py importable by the tests of this folder, and its texts' tokenizer."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture(scope='session')
def tokenizer_folder(tmp_path_factory):
    """A tokenizer.json of the words of tiny_networks that adds [CLS] and [SEP]."""
    from tiny_networks import WORDS
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    rows = {word: row for row, word in enumerate(WORDS)}
    made = Tokenizer(models.WordLevel(rows, unk_token='[UNK]'))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(
        ('[SEP]', rows['[SEP]']), ('[CLS]', rows['[CLS]'])
    )
    folder = tmp_path_factory.mktemp('tokenizer')
    made.save(str(folder / 'tokenizer.json'))
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the cache of whoever runs it."""
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
