"""Words and tags from files, and words as tokens: by hand, and in windows."""

import dataclasses
import itertools
import json
import random

import numpy as np
import pytest

from ftjax.data.labels.tags import Tags
from ftjax.data.load import load_data
from ftjax.data.settings import DataSettings
from ftjax.data.streams.loader import Loader, at_places
from ftjax.data.text.word_windows import WordWindows, _windows, joined_words, words_of
from ftjax.errors import UserError
from ftjax.evaluation.spans import scheme_of
from ftjax.pretrained.open import load_pretrained

CONLL = """-DOCSTART- -X- O O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""


def settings(source, **changes):
    return DataSettings(
        source=source, task='token_classification', test_fraction=0.0, val_fraction=0.0, **changes
    )


def jsonl(path, rows):
    path.write_text('\n'.join(json.dumps(row) for row in rows))
    return f'jsonl:{path}'


@pytest.fixture(scope='module')
def bert():
    return load_pretrained('docstrings').preprocessing


def test_a_conll_file_by_words_and_last_column(tmp_path):
    (tmp_path / 'a.conll').write_text(CONLL)
    found = load_data(settings(f'conll:{tmp_path}/a.conll')).train
    assert found.inputs.tolist() == ['EU rejects German', 'Peter Blackburn']
    assert found.class_names == ('O', 'B-MISC', 'B-ORG', 'B-PER', 'I-PER')
    assert found.labels.tolist() == [[2, 0, 1], [3, 4, -1]]
    assert found.ids.tolist() == ['a.conll:3', 'a.conll:7']
    assert found.label_kind.counts(found.labels, 5) == [1, 1, 1, 1, 1]
    parts = load_data(settings(f'conll:{tmp_path}/a.conll', label_column='1')).train
    assert parts.class_names == ('JJ', 'NNP', 'VBZ')


def test_a_first_word_of_a_hash_and_spaces_within_words_of_a_conll_file(tmp_path):
    (tmp_path / 'a.conll').write_text(
        '#dbl O\r\nin O\r\nNew\xa0York B-LOC\r\n\r\n10\u202f000 O\r\n'
    )
    found = load_data(settings(f'conll:{tmp_path}/a.conll')).train
    assert found.inputs.tolist() == ['#dbl in New\xa0York', '10\u202f000']
    assert found.labels.tolist() == [[0, 0, 1], [0, -1, -1]]
    (tmp_path / 'b.conll').write_text('# a comment\n# id = 3\nin\tO\n#\tB-X\n')
    found = load_data(settings(f'conll:{tmp_path}/b.conll')).train
    assert found.inputs.tolist() == ['in #'] and found.labels.tolist() == [[0, 1]]


def test_tags_that_seem_right_and_are_not(tmp_path):
    (tmp_path / 'a.conll').write_text('Ada\nslept\n\n')
    with pytest.raises(UserError, match='line 1: one column'):
        load_data(settings(f'conll:{tmp_path}/a.conll'))
    for begin, inner in (('b-per', 'i-per'), ('B_per', 'I_per')):
        with pytest.raises(UserError, match="expected 'B-per' and 'I-per'"):
            Tags().read([[begin, inner, 'O']], str)
    assert Tags().read([['b-per', 'O']], str)[1] == ('O', 'b-per')


def test_spans_without_a_type(tmp_path):
    """Of B B I O two spans: as seqeval 1.2.2 has them, mode='strict', scheme=IOB2."""
    rows = [{'words': list('abcd'), 'tags': ['B', 'B', 'I', 'O']}]
    found = load_data(settings(jsonl(tmp_path / 'a.jsonl', rows))).train
    assert found.class_names == ('O', 'B', 'I')
    scheme = scheme_of(found.class_names)
    assert scheme.named(found.labels[0]) == [('span', 0, 1), ('span', 1, 3)]
    assert scheme_of(('O', 'A', 'B')).named([2, 2, 0]) == [('B', 0, 2)]  # plain tags
    for other in ('E', 'B-X'):
        with pytest.raises(UserError, match=r'BIOES|no type'):
            Tags().read([['B', 'I', other, 'O']], str)


def test_words_characters_and_one_string_from_jsonl(tmp_path):
    rows = [
        {'words': ['New York', '', 'x'], 'tags': ['B-LOC', 'O', 'O']},
        {'words': ['a'], 'tags': ['O']},
    ]
    found = load_data(settings(jsonl(tmp_path / 'a.jsonl', rows))).train
    assert words_of(found.inputs[0]) == ['New\u00a0York', '', 'x']
    assert found.labels.tolist() == [[1, 0, 0], [0, -1, -1]]
    rows = [{'text': 'a bc', 'label': 'X Y'}, {'text': 'd', 'label': ['X']}]
    source = jsonl(tmp_path / 'b.jsonl', rows)
    assert load_data(settings(source)).train.inputs.tolist() == ['a bc', 'd']
    rows = [{'text': 'a b', 'label': ['X', 'Y', 'X']}]
    source = jsonl(tmp_path / 'c.jsonl', rows)
    found = load_data(settings(source, units='characters')).train
    assert words_of(found.inputs[0]) == ['a', '\u00a0', 'b']
    with pytest.raises(UserError, match=r'c.jsonl line 1: 2 words and 3 tags'):
        load_data(settings(source))


@pytest.mark.parametrize(
    ('rows', 'said'),
    [
        ([{'words': ['a'], 'tags': ['O', 'O']}], 'line 1: 1 words and 2 tags'),
        ([{'words': [], 'tags': []}], 'the label is missing'),
        ([{'words': [], 'tags': ['O']}], 'line 1: the text holds no words'),
        ([{'words': ['a', 3], 'tags': ['O', 'B-X']}], 'line 1: 3 is no word'),
        ([{'words': ['a', 'b'], 'tags': ['O', None]}], 'line 1: the label is missing'),
        ([{'words': ['a', 'b'], 'tags': ['O', 'O']}], "one tag only \\('O'\\)"),
        ([{'words': ['a', 'b'], 'tags': ['B-X', 'E-X']}], "tag 'E-X' beside B- and I-"),
        ([{'words': ['a'], 'tags': 4}], "line 1: the tags are '4'"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(tmp_path, rows, said):
    with pytest.raises(UserError, match=said):
        load_data(settings(jsonl(tmp_path / 'a.jsonl', rows)))


def test_columns_of_a_conll_file_are_checked(tmp_path):
    (tmp_path / 'a.conll').write_text('a O\nb\n')
    with pytest.raises(UserError, match='line 2: 1 columns; expected 2'):
        load_data(settings(f'conll:{tmp_path}/a.conll'))
    with pytest.raises(UserError, match=r"data\.label_column is 'ner'"):
        load_data(settings(f'conll:{tmp_path}/a.conll', label_column='ner'))
    with pytest.raises(UserError, match=r'for data\.task token_classification'):
        load_data(DataSettings(source=f'conll:{tmp_path}/a.conll'))


def test_the_first_token_of_each_word_stands_for_it(bert):
    tokenizer = bert.open()
    words = ['Return', 'unhashable', '\u200b', 'lines']
    windows = WordWindows([joined_words(words)], bert, 'd')
    got = windows.padded(np.array([0]), int(windows.buckets[0]))
    pieces = [tokenizer.encode(word, add_special_tokens=False).ids for word in words]
    assert (
        len(pieces[1]) > 1 and not pieces[2]
    )  # one word is several tokens, of one nothing is left
    pieces[2] = [tokenizer.token_to_id('[UNK]')]
    wanted = [
        tokenizer.token_to_id('[CLS]'),
        *itertools.chain(*pieces),
        tokenizer.token_to_id('[SEP]'),
    ]
    assert got['ids'][0, : len(wanted)].tolist() == wanted
    starts = 1 + np.cumsum([0, *map(len, pieces[:-1])])
    places = np.full(got['ids'].shape[1], -1)
    places[starts] = range(4)
    assert got['places'][0].tolist() == places.tolist()
    # Three of the four have a tag of their own: labels stand where the words do.
    labels = at_places(np.array([[3, 1, 0, 2, -1]]), got['places'])
    assert labels[0, starts].tolist() == [3, 1, 0, 2] and (labels >= 0).sum() == 4


def test_words_alone_are_the_tokens_of_the_whole_text(bert):
    texts = ['open the file for reading', 'a']
    tokenizer = bert.open()
    windows = WordWindows(texts, bert, 'd')
    got = windows.padded(np.array([0, 1]), 16)
    for row, text in enumerate(texts):
        ids = tokenizer.encode(text).ids
        assert got['ids'][row, : len(ids)].tolist() == ids
        assert got['real'][row].sum() == len(ids)


@pytest.mark.parametrize('longest', [8, 32])
def test_each_word_of_a_long_text_is_scored_once_with_context(bert, longest):
    words = ['open', 'unhashable', 'lines', 'of', 'text'] * 20
    short = bert.with_length(longest)
    windows = WordWindows([joined_words(words), 'open lines'], short, 'd')
    count = int(windows.windows[0])
    assert count > 3 and windows.buckets.tolist()[0] == count * longest
    got = windows.padded(np.array([0, 1]), count * longest)
    assert got['ids'].shape == (2, count, longest)
    places = got['places'][0]
    assert places[places >= 0].tolist() == list(range(len(words)))  # in order, each once
    for window, row in enumerate(places):
        scored = np.flatnonzero(row >= 0)
        real = int(got['real'][0, window].sum())
        assert scored[-1] < real - 1
        if longest == 32 and window:  # words that were scored before are seen again
            assert scored[0] > 2
    # The short text has windows that hold one padded token and no word.
    assert (got['places'][1, 1:] == -1).all() and got['real'][1, 1:].sum() == count - 1


def test_labels_of_a_batch_stand_at_the_first_tokens(bert, tmp_path):
    rows = [
        {'words': ['unhashable', 'lines'], 'tags': ['B-A', 'O']},
        {'words': ['open'] * 40, 'tags': ['O'] * 39 + ['B-A']},
    ]
    data = load_data(settings(jsonl(tmp_path / 'a.jsonl', rows), max_length=16)).train
    loader = Loader(data, None, dataclasses.replace(bert.with_length(16), form='words'))
    alone = loader.batch(np.array([0]), size=2)
    assert alone['labels'].shape == alone['mask'].shape == (2, 16)
    assert alone['labels'][0][alone['labels'][0] >= 0].tolist() == [1, 0]
    assert alone['mask'].sum() == 2 and not alone['mask'][1].any()
    both = loader.batch(np.array([0, 1]))
    assert both['inputs']['input_ids'].shape == both['labels'].shape
    assert both['labels'].ndim == 3 and both['mask'].sum() == 42
    assert both['labels'][1][both['mask'][1] > 0].tolist() == [0] * 39 + [1]


def test_tags_of_other_data_get_the_numbers_of_the_head():
    labels = np.array([[0, 1, -1]])
    assert Tags().renumbered(labels, np.array([2, 0]), 3).tolist() == [[2, 0, -1]]
    assert Tags().told(labels[0], ('O', 'B-A')) == 'O B-A'


def test_windows_score_every_word_once_whatever_the_words():
    rng = random.Random(0)
    for _ in range(300):
        sizes = [rng.choice([1, 1, 1, 2, 5, 30]) for _ in range(rng.randint(1, 60))]
        room = rng.randint(3, 25)
        found = list(_windows(sizes, room))
        scored = [word for _, _, (first, last) in found for word in range(first, last)]
        assert scored == list(range(len(sizes)))
        for first, last, _ in found:  # what a window holds fits, or is one word that is cut
            assert sum(sizes[first:last]) <= room or last == first + 1


@pytest.mark.parametrize(
    ('rows', 'said'),
    [
        (['B-PER O', 'X-LOC O'], r"second: tag 'X-LOC' stands beside B- and I-"),
        (['O O', 'I-LOC O'], r'second: there is I-LOC and no B-LOC: these tags are of IOB1'),
        (['B-PER I-PER', 'I-LOC O'], r'second: there is I-LOC and no B-LOC'),
        ([[0, 1], [2, 0]], r'first: the tags are numbers.*data\.class_names='),
        (['0 1', '2 0'], r'first: the tags are numbers'),
    ],
)
def test_tags_of_another_scheme_are_refused_by_name(rows, said):
    with pytest.raises(UserError, match=said):
        Tags().read(rows, lambda row: ('first', 'second')[row])


def test_numbers_are_tags_where_they_are_named():
    labels, names = Tags().read([[0, 1], [2, 0]], str, ('O', 'B-PER', 'I-PER'))
    assert labels.tolist() == [[0, 1], [2, 0]] and names == ('O', 'B-PER', 'I-PER')
