"""Sentences of the standard library: what is read, in which order, and which part is whose."""

import collections

import numpy as np
import pytest

from ftjax.data import DataSettings, load_data
from ftjax.data.synthetic.docstrings import (
    GROUPS,
    in_order_or_not,
    is_held_out,
    labelled_sentences,
    library_folder,
    read_sentences,
    sentences_of,
    unlabelled_sentences,
)
from ftjax.errors import UserError

MODULE = '''"""Reads settings from a file of lines."""
import sys
sys.exit('imported')
class Reader:
    """Keeps what it has read in memory."""
    def read(self):
        """Return the next line as plain text.  The end gives an empty line instead.

        >>> Reader().read()
        \'This line is only an example here.\'

        Too short.
        """
        name = 'This string is no documentation at all'
try:
    def other():
        """Hidden in a body that may fail."""
except ImportError:
    pass
'''


@pytest.fixture
def library(tmp_path):
    files = {
        'settings.py': MODULE,
        'broken.py': '"""This file is no Python at all."""\ndef f(:',
        'coded.py': b'# coding: latin-1\n"""The caf\xe9 is encoded as Latin one."""',
        'wrong.py': b'"""These bytes are no UTF-8: \xff at all."""',
        'half.py': '"""Half a pair \\ud800 can not be encoded."""',
        'again/__init__.py': '"""Reads settings from a file of lines."""',
        'pydoc_data/topics.py': 'topics = {"a": "Every string of these is read as help."}',
        'test/test_all.py': '"""Tests of tests are no prose to learn."""',
        'again/tests/__init__.py': '"""Tests of tests are no prose to learn."""',
        'site-packages/other.py': '"""Not of Python but of somebody else."""',
        'LICENSE.txt': 'This licence is short and grants all rights.',
        'notes.txt': 'Nobody reads this file of notes here.',
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def test_a_library_is_parsed_in_order_and_not_imported(library):
    got = [(sentence.module, sentence.text) for sentence in read_sentences(library)]
    assert got == [
        ('again', 'Reads settings from a file of lines.'),
        ('coded', 'The café is encoded as Latin one.'),
        ('pydoc_data', 'Every string of these is read as help.'),
        ('settings', 'Reads settings from a file of lines.'),
        ('settings', 'Keeps what it has read in memory.'),
        ('settings', 'Return the next line as plain text.'),
        ('settings', 'The end gives an empty line instead.'),
        ('settings', 'Hidden in a body that may fail.'),
        ('license', 'This licence is short and grants all rights.'),
    ]
    assert [s.module for s in read_sentences(library, {'coded', 'test'})] == ['coded']


@pytest.mark.parametrize(
    'text',
    [
        'Two words.',
        'x = [1, 2, 3, 4, 5, 6, 7, 8, 9]; y = {0: 1}',
        'An example:\n>>> print("this is what it prints out")',
        ' '.join(['word'] * 60),
    ],
)
def test_what_is_no_prose_is_left_out(text):
    assert list(sentences_of(text)) == []


def test_the_library_here_gives_the_same_sentences_each_time():
    some = {'bisect', 'json', 'shutil'}
    once = list(read_sentences(library_folder(), some))
    assert once == list(read_sentences(library_folder(), some))
    assert {sentence.module for sentence in once} == some
    assert all(len(s.text.split()) >= 5 and '\n' not in s.text for s in once)


def test_labelled_sentences_are_distinct_held_out_and_of_every_group():
    pairs = labelled_sentences()
    texts = [sentence.text for sentence, _ in pairs]
    assert len(set(texts)) == len(texts) and all(map(is_held_out, texts))
    assert len({sentence.id for sentence, _ in pairs}) == len(pairs)
    count = collections.Counter(group for _, group in pairs)
    assert set(count) == set(GROUPS) and min(count.values()) >= 100
    assert all(sentence.module in GROUPS[group] for sentence, group in pairs)


def test_half_of_the_sentences_lose_their_order_and_nothing_else():
    written = [sentence.text for sentence, _ in labelled_sentences()]
    made = [in_order_or_not(text) for text in written]
    assert 0.45 < np.mean([kept for _, kept in made]) < 0.55
    for before, (after, kept) in zip(written, made, strict=True):
        one, other = before.split(), after.split()
        assert (one == other) == kept and sorted(one) == sorted(other)
        assert (one[0], one[-1]) == (other[0], other[-1])
    assert made[:50] == [in_order_or_not(text) for text in written[:50]]
    data = load_data(DataSettings(source='docstrings:order', val_fraction=0.1))
    assert data.class_names == ('shuffled', 'written')
    truth = dict(made)
    for text, label in zip(data.test.inputs, data.test.labels, strict=True):
        assert truth[text] == bool(label)


@pytest.mark.slow
def test_the_two_parts_have_no_sentence_in_common():
    labelled = {sentence.text for sentence, _ in labelled_sentences()}
    others = [sentence.text for sentence in unlabelled_sentences()]
    assert len(set(others)) == len(others) > len(labelled)
    assert not labelled.intersection(others)
    data = load_data(DataSettings(source='docstrings:unlabelled', task='masked_tokens'))
    assert data.num_outputs == 0 and data.class_names == ()


def test_the_source_has_classes_and_refuses_what_it_has_not():
    data = load_data(DataSettings(source='docstrings', examples_per_class=5))
    assert data.class_names == tuple(GROUPS) and len(data.train) == 5 * len(GROUPS)
    assert len(data.test) > 100
    for fields, words in (
        ({'source': 'docstrings:unlabeled'}, "'unlabelled'"),
        ({'source': 'docstrings:unlabelled'}, 'masked_tokens, not classification'),
        ({'source': 'docstrings', 'task': 'regression'}, 'classification, not regression'),
    ):
        with pytest.raises(UserError, match=words):
            load_data(DataSettings(**fields))


def test_statements_are_found_in_the_order_of_a_whole_walk():
    import ast
    import gc
    import typing

    from ftjax.data.synthetic.parsed_files import statements, syntax_tree

    with open(typing.__file__, 'rb') as file:
        text = file.read() + b'\nmatch x:\n  case 1:\n    y = 1\ntry: pass\nexcept E:\n  def f(): 0'
    tree = syntax_tree(text)
    assert gc.isenabled() and syntax_tree('a b') is None and gc.isenabled()
    whole = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    assert list(statements(tree)) == whole and len(whole) > 1000
