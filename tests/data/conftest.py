"""A tokenizer and tiny networks for texts, made here from what Python itself carries."""

import argparse
import collections
import email.message
import inspect
import json
import logging

import jax
import pytest

from ftjax.data import Dataset
from ftjax.models.registry import build
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.own_format import save_own

WORDS = 500  # of the vocabulary


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the cache of whoever runs it."""
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path_factory.mktemp('cache')))


@pytest.fixture(scope='session')
def sentences():
    """Distinct lines of docstrings, of very different lengths."""
    modules = (argparse, collections, email.message, json, logging)
    lines = []
    for module in modules:
        for _, thing in sorted(vars(module).items()):
            if inspect.isclass(thing) or inspect.isfunction(thing):
                lines += (inspect.getdoc(thing) or '').split('\n')
    short = [line.strip() for line in lines if line.strip()]
    long = [' '.join(short[i : i + 4]) for i in range(0, 60, 4)]
    return list(dict.fromkeys([*short[:120], *long]))


@pytest.fixture(scope='session')
def tokenizer_folder(tmp_path_factory, sentences):
    """tokenizer.json of a BERT; the padding and truncation in it must not be followed."""
    from tokenizers.implementations import BertWordPieceTokenizer

    folder = tmp_path_factory.mktemp('tokenizer')
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(sentences, vocab_size=WORDS, min_frequency=1, show_progress=False)
    # With a post-processor, as checkpoints have it: training alone sets none.
    vocab = tokenizer.get_vocab()
    words = sorted(vocab, key=vocab.get)
    (folder / 'vocab.txt').write_text('\n'.join(words) + '\n', encoding='utf-8')
    made = BertWordPieceTokenizer(str(folder / 'vocab.txt'), lowercase=True)
    made.enable_padding(length=128)
    made.enable_truncation(6)
    made.save(str(folder / 'tokenizer.json'))
    return folder


@pytest.fixture(scope='session')
def bert(tmp_path_factory, tokenizer_folder):
    """A tiny BERT in our own format, with its tokenizer, opened."""
    network = build(
        'bert',
        {'vocab_size': WORDS, 'width': 16, 'depth': 2, 'heads': 2, 'mlp_dim': 32, 'num_classes': 3},
    )
    # Larger than at initialisation: differences between inputs must be seen in the logits.
    variables = jax.tree.map(lambda x: x * 8, random_variables(network, 0))
    folder = tmp_path_factory.mktemp('bert')
    save_own(folder, network, variables, None, tokenizer=tokenizer_folder / 'tokenizer.json')
    return load_pretrained(str(folder))


@pytest.fixture
def texts(sentences):
    """A split of sentences."""
    labels = [i % 3 for i in range(len(sentences))]
    return Dataset(name='t', kind='text', inputs=sentences, labels=labels, class_names='xyz')
