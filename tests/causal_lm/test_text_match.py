"""Matches of texts, worked out by hand."""

import numpy as np
import pytest

from ftjax.errors import UserError
from ftjax.evaluation.generation.text_match import (
    generation_metrics,
    longest_common,
    match_text,
    normalised,
    rouge_l,
)
from ftjax.runs.assessment.forgetting import forgetting_text


def test_rouge_l_of_short_texts():
    # Lin 2004, section 3.1: police kill the gunman has 'police the gunman' in common, 3 of 4 words.
    assert rouge_l('police kill the gunman', 'police killed the gunman') == pytest.approx(3 / 4)
    assert rouge_l('the gunman kill police', 'police killed the gunman') == pytest.approx(2 / 4)
    assert rouge_l('one two three', 'three') == pytest.approx(2 * (1 / 3) / (1 / 3 + 1))
    assert rouge_l('', 'a') == rouge_l('a', '') == rouge_l('a', 'b') == 0
    assert rouge_l('Same, words!', 'same words') == 1
    assert rouge_l('кошка спит', 'Кошка ест') == 1 / 2  # any alphabet
    assert rouge_l('cafe\u0301 x', 'cafe\u0301 y') == 1 / 2 and rouge_l('日本', '日本') == 1
    assert longest_common('abcbdab', 'bdcaba') == 4  # a textbook's: bcba


def test_matches_and_their_intervals():
    got = generation_metrics([' mail ', 'The Mail.', 'no'], ['mail', 'mail', 'mail'])
    assert got['exact_match'] == pytest.approx(1 / 3)
    assert got['normalised_match'] == pytest.approx(2 / 3)
    assert got['rouge_l'] == pytest.approx((1 + 2 / 3) / 3)
    assert normalised('A man, an  ant; the Theatre') == 'man ant theatre'
    low, high = got['exact_match_interval']
    assert low < 1 / 3 < high and np.isfinite(got['rouge_l_interval']).all()
    with pytest.raises(UserError, match='0 answers and 1 references'):
        generation_metrics([], ['a'])


def test_intervals_resample_groups_and_have_a_width_where_all_are_right():
    answers, references = ['a'] * 30 + ['b'] * 10, ['a'] * 40
    alone = generation_metrics(answers, references)
    groups = ['one'] * 10 + ['two'] * 10 + ['three'] * 10 + ['four'] * 10
    found = generation_metrics(answers, references, groups)
    assert found['groups'] == 4 and 'groups' not in alone
    for name in ('exact_match', 'rouge_l'):
        assert found[name] == alone[name] == 3 / 4
        widths = [np.ptp(each[f'{name}_interval']) for each in (alone, found)]
        assert widths[1] > 1.5 * widths[0]
    right = generation_metrics(['a'] * 8, ['a'] * 8)
    assert right['rouge_l_interval'] == right['exact_match_interval']
    assert right['rouge_l_interval'][0] == pytest.approx(0.676, abs=1e-3)


def test_one_answer_has_no_interval_of_its_overlap():
    found = generation_metrics(['the cat'], ['the dog'])
    assert found['rouge_l_interval'] is None
    lines = match_text(found).splitlines()
    assert lines[-1].split() == ['rouge_l', '0.5000'] and 'nan' not in match_text(found)
    assert 'interval' in lines[1]  # Wilson's, of a share, holds for one answer too
    change = {'source': 'x', 'metric': 'nll', 'before': 1.0, 'after': 2.0, 'change': 1.0}
    said = forgetting_text({**change, 'change_interval': None})
    assert said == 'forgetting on x: nll 1.0000 as loaded, 2.0000 now: +1.0000'
    assert forgetting_text({**change, 'change_interval': [0.5, 1.5]}).endswith(
        '2.0000 now: +1.0000, 95 % interval +0.5000 to +1.5000'
    )
