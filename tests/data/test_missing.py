"""Rows of tables without a value: counted, refused, left out, filled in or kept unlabelled."""

import numpy as np
import pytest

from ftjax.data import DataSettings, load_data
from ftjax.errors import UserError

LINES = [f'text number {i},{"ab"[i % 2]}' for i in range(30)]


def settings(path, **more):
    return DataSettings(source=f'csv:{path}', val_fraction=0.2, test_fraction=0.2, **more)


@pytest.fixture
def gaps(tmp_path):
    """30 rows with a label, 4 without one, 2 without a text."""
    lines = [*LINES]
    for place in (3, 9, 17, 25):
        lines.insert(place, f'unlabelled {place},')
    path = tmp_path / 'gaps.csv'
    path.write_text('\n'.join(['text,label', *lines, ',a', '  ,b']))
    return path


def test_an_error_counts_all_rows_and_shows_the_first(gaps):
    with pytest.raises(UserError) as found:
        load_data(settings(gaps, missing={'text': 'drop'}))
    text = str(found.value)
    assert 'gaps.csv line 5: the label is missing' in text
    assert '4 of 34 rows: gaps.csv lines 5, 11, 19, ..' in text
    assert "data.missing={'label': 'drop'} leaves such rows out" in text and "'keep'" in text
    with pytest.raises(
        UserError, match=r"line 36: 'text' is ''; expected a text \(so it is in 2 of"
    ):
        load_data(settings(gaps))


def test_rows_are_left_out_or_kept_unlabelled(gaps):
    dropped = load_data(settings(gaps, missing={'text': 'drop', 'label': 'drop'}))
    assert len(dropped.train) + len(dropped.val) + len(dropped.test) == 30
    assert dropped.unlabelled is None
    assert any("2 rows left out without a value in 'text'" in note for note in dropped.notes)
    kept = load_data(settings(gaps, missing={'text': 'drop', 'label': 'keep'}))
    assert kept.fingerprint == dropped.fingerprint
    want = [f'unlabelled {place}' for place in (3, 9, 17, 25)]
    assert kept.unlabelled.inputs.tolist() == want and kept.unlabelled.ids[0] == 'gaps.csv:5'
    assert any('4 rows kept apart as unlabelled' in note for note in kept.notes)


def test_texts_are_filled_in_and_hidden_words_need_no_label(gaps):
    filled = load_data(settings(gaps, missing={'text': 'constant:none said', 'label': 'drop'}))
    every = np.concatenate([filled.train.inputs, filled.val.inputs, filled.test.inputs])
    assert (every == 'none said').sum() == 2
    words = load_data(settings(gaps, missing='drop', task='masked_tokens'))
    assert len(words.train) + len(words.val) + len(words.test) == 34


def test_several_classes_an_example_may_be_none(tmp_path):
    path = tmp_path / 'many.csv'
    path.write_text(
        'text,label\n' + '\n'.join(f't{i},{("a|b", "a", "b", "")[i % 4]}' for i in range(40))
    )
    assert len(load_data(settings(path, task='multilabel')).train) == 24


@pytest.mark.parametrize(
    'missing,message',
    [
        ({'txt': 'drop'}, "unknown column in data.missing: 'txt'; did you mean 'text'"),
        ({'text': 'median'}, 'a text takes error, drop or constant:VALUE'),
        ({'label': 'constant:a'}, 'a label takes error, drop or keep'),
        ({'text': 'keep'}, 'a text takes'),
        ({'text': 'drp'}, "data.missing of column 'text': unknown rule for missing values 'drp'"),
        (3, 'expected a text or a mapping'),
        ('{3', 'expected a rule such as'),
    ],
)
def test_wrong_rules_are_refused(gaps, missing, message):
    with pytest.raises(UserError) as found:
        load_data(settings(gaps, missing=missing))
    assert message in str(found.value)


def test_nothing_left_is_said(tmp_path):
    path = tmp_path / 'empty.csv'
    path.write_text('text,label\na,\nb,\n')
    with pytest.raises(UserError, match='no examples are left'):
        load_data(settings(path, missing={'label': 'drop'}))


def test_rows_without_a_label_join_the_unlabelled_data(gaps, tmp_path):
    more = tmp_path / 'more.csv'
    more.write_text('\n'.join(['text,label', *(f'other {i},{"ab"[i % 2]}' for i in range(5))]))
    missing = {'text': 'drop', 'label': 'keep'}
    found = load_data(settings(gaps, missing=missing, unlabelled=f'csv:{more}')).unlabelled
    want = [f'unlabelled {place}' for place in (3, 9, 17, 25)] + [f'other {i}' for i in range(5)]
    assert found.inputs.tolist() == want and len({*found.ids}) == 9
