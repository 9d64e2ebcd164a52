"""Verdicts on soups and interpolated weights, on rows with known scores."""

import pytest

from ftjax.reproductions.soup_gates import soup_verdicts

NAMES = {
    'start': 's',
    'best': 'b',
    'uniform': 'u',
    'greedy': 'g',
    'inside': ['0.25', '0.5', '0.75'],
    'shifted': 'all',
}


def rows(ood, val=None, seeds=(0, 1, 2)):
    """One row an arm and seed; out of distribution as given, plus .01 a seed for all."""
    val = {'b': 0.8, 'g': 0.8, **(val or {})}
    made = []
    for seed in seeds:
        for arm, score in ood.items():
            shifted = {'accuracy': score + 0.01 * seed}
            made.append(
                {
                    'arm': arm,
                    'seed': seed,
                    'status': 'ok',
                    'val': {'accuracy': val.get(arm, 0.7)},
                    'test': {'accuracy': 0.9},
                    'shifts': {'all': shifted},
                    'members': [{'shifted': 0.45 + 0.01 * seed}, {'shifted': 0.3}],
                }
            )
    return made


OOD = {'s': 0.30, 'b': 0.40, 'u': 0.44, 'g': 0.42, '0.25': 0.41, '0.5': 0.46, '0.75': 0.47}


def by_words(found, words):
    (one,) = [verdict for verdict in found if words in verdict['gate']]
    return one


def test_soups_above_the_best_member_pass_and_points_are_percent():
    found = soup_verdicts(rows(OOD), **NAMES)
    assert all(set(v) == {'gate', 'passed', 'value', 'interval', 'kind'} for v in found)
    uniform = by_words(found, 'uniform above')
    assert uniform['passed'] is True and uniform['value'] == pytest.approx(4.0)
    assert uniform['interval'] == pytest.approx([4.0, 4.0])
    assert by_words(found, 'greedy at least')['passed'] is True  # a tie is enough
    assert by_words(found, 'best out of distribution')['value'] == pytest.approx(-1.0)
    assert {v['passed'] for v in found if v['kind'] == 'report'} == {None}


def test_the_line_is_compared_with_its_better_end():
    found = soup_verdicts(rows(OOD), **NAMES)
    assert by_words(found, '0.5 minus the better end (b)')['value'] == pytest.approx(6.0)
    assert by_words(found, '0.75, the highest')['value'] == pytest.approx(7.0)
    found = soup_verdicts(rows({**OOD, 's': 0.5}), **NAMES)
    assert by_words(found, '0.5 minus the better end (s)')['value'] == pytest.approx(-4.0)


def test_folds_widen_every_interval():
    made = rows(OOD)
    for number, row in enumerate(made):
        row['shifts'] = {'all': {'accuracy': row['shifts']['all']['accuracy'] + number % 4 / 100}}
    alone, folded = soup_verdicts(made, **NAMES), soup_verdicts(made, **NAMES, overlap=0.5)
    for one, other in zip(alone, folded, strict=True):
        wide, wider = (high - low for low, high in (one['interval'], other['interval']))
        assert wider == pytest.approx(wide * (1 + 0.5 * 3) ** 0.5), one['gate']


def test_soups_below_the_best_member_fail():
    found = soup_verdicts(rows({**OOD, 'u': 0.39}, {'g': 0.79}), **NAMES)
    assert by_words(found, 'uniform above')['passed'] is False
    assert by_words(found, 'greedy at least')['passed'] is False
