"""Verdicts on further test sets, and on how far features moved, on rows with known numbers."""

import pytest

from ftjax.ablation.gates.test_set_gates import mean_of_shifts, movement_verdicts
from ftjax.ablation.report.gate_verdicts import grid_verdicts
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.summary import summarise
from ftjax.errors import UserError

GROUPS = {'shifted': ('noise', 'blur')}
SEEDS = range(3)


def rows(arm, test, noise, blur, rate=1e-3, moved=0.0):
    """Three seeds of an arm: 0, 1 and 2 points apart for all arms, and a little of its own."""
    own = [(0.001 if arm == 'full' else -0.0005) * extra for extra in (1, -2, 1)]
    return [
        {
            'arm': arm,
            'rate': rate,
            'seed': seed,
            'status': 'ok',
            'val': {'accuracy': test + 0.01 * seed + own[seed]},
            'test': {'accuracy': test + 0.01 * seed + own[seed]},
            'shifts': {
                'noise': {'accuracy': noise + 0.01 * seed + own[seed]},
                'blur': {'accuracy': blur + 0.01 * seed + own[seed]},
            },
            'features_moved': {'test': moved, 'noise': 2 * moved, 'blur': 4 * moved},
        }
        for seed in SEEDS
    ]


# In distribution `full` is above `head`; shifted it is below, although not on every test set.
MADE = rows('head', 0.6, 0.5, 0.3) + rows('full', 0.7, 0.2, 0.4, moved=0.1)


def shift_verdicts(rows, gates):
    """The verdicts of groups alone; what moved has a test of its own."""
    settings = AblationSettings(
        arms={'head': 'head', 'full': 'full'},
        rates=(1e-3,),
        also_evaluate={'noise': 'a', 'blur': 'b'},
        groups=GROUPS,
        group_gates=gates,
    )
    still = [{k: v for k, v in row.items() if k != 'features_moved'} for row in rows]
    return grid_verdicts(settings, summarise(still, reference='full'), still)


def test_a_group_is_judged_by_the_mean_of_its_test_sets():
    gates = {'shifted': (('above', 'head', 'full'), ('difference', 'full', 'head'))}
    found = shift_verdicts(MADE, gates)
    assert [one['gate'] for one in found] == [
        'shifted: head above full',
        'shifted: full minus head',
    ]
    assert found[0]['passed'] is True and found[0]['kind'] == 'gate'
    assert found[0]['value'] == pytest.approx(100 * ((0.5 + 0.3) / 2 - (0.2 + 0.4) / 2))
    assert found[1]['passed'] is None and found[1]['value'] == pytest.approx(-10)
    (judged,) = shift_verdicts(MADE, {'shifted': (('above', 'head', 'full'),)})
    low, high = judged['interval']
    assert 9 < low < 10 < high < 11


def test_the_other_way_round_it_fails():
    gates = {'shifted': (('above', 'full', 'head'),)}
    (found,) = shift_verdicts(MADE, gates)
    assert found['passed'] is False and -11 < found['interval'][0] < found['interval'][1] < -9


def test_a_seed_without_a_score_on_every_test_set_has_none():
    made = [dict(row) for row in MADE]
    made[1]['shifts'] = {'noise': made[1]['shifts']['noise']}
    made[2].update(status='diverged', shifts={})
    summary = summarise(made, reference='full')
    head, full = mean_of_shifts(summary, GROUPS['shifted'])['tasks'][0]['arms']
    assert {seed for seed, value in head['seeds'].items() if value is not None} == {'0'}
    assert full['seeds'] == pytest.approx({'0': 0.3, '1': 0.31, '2': 0.32}, abs=0.003)


def test_without_the_test_set_a_gate_is_undecided():
    made = [{k: v for k, v in row.items() if k != 'shifts'} for row in MADE]
    gates = {'shifted': (('above', 'full', 'head'),)}
    (found,) = shift_verdicts(made, gates)
    assert found['passed'] is None and found['value'] is None


def test_movement_is_that_of_the_chosen_rate_and_of_arms_that_moved():
    other = rows('full', 0.4, 0.2, 0.2, rate=1e-1, moved=9.0)
    summary = summarise(MADE + other, reference='full')
    found = movement_verdicts(summary, MADE + other, GROUPS)
    assert {one['kind'] for one in found} == {'report'}
    told = {one['gate']: one['value'] for one in found}
    assert told == pytest.approx(
        {
            'in distribution: features of full moved by, % of their length': 10.0,
            'shifted: features of full moved by, % of their length': 30.0,
        }
    )


def test_folds_widen_how_far_features_moved():
    made = [
        {**row, 'features_moved': {'test': 0.1 + 0.01 * row['seed'], 'noise': 0.2, 'blur': 0.2}}
        for row in MADE
    ]
    widths = []
    for folds in (0, 3):
        found = movement_verdicts(summarise(made, reference='full', folds=folds), made, {})
        (low, high) = found[0]['interval']
        widths.append(high - low)
    # Three values: s^2 (1/3 + 1/2) in place of s^2 / 3.
    assert widths[1] == pytest.approx(widths[0] * (1 + 3 / 2) ** 0.5)


def test_movement_on_a_group_takes_a_distance_on_each_of_its_test_sets():
    made = [{**row, 'features_moved': {'test': 0.1, 'noise': 0.2}} for row in MADE]
    found = movement_verdicts(summarise(made, reference='full'), made, GROUPS)
    assert [one['gate'].split(':')[0] for one in found] == ['in distribution'] * 2


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'groups': {'shifted': ('nois',)}}, "did you mean 'noise'"),
        ({'groups': {'shifted': 'noise'}}, 'expected names of further test sets'),
        ({'group_gates': {'shiftd': ()}}, "did you mean 'shifted'"),
        ({'group_gates': {'shifted': (('above', 'full', 'heat'),)}}, "did you mean 'head'"),
        ({'movement_on': -1}, 'expected a number of examples'),
        ({'movement_on': True}, 'expected a number of examples'),
    ],
)
def test_mistakes_are_named(change, words):
    good = {
        'arms': {'full': 'full', 'head': 'head'},
        'rates': (1e-3,),
        'also_evaluate': {'noise': {'corruption': 'gaussian_noise:0.1'}},
        'groups': {'shifted': ('noise',)},
        'group_gates': {'shifted': (('above', 'full', 'head'),)},
    }
    assert AblationSettings(**good).groups == {'shifted': ('noise',)}
    with pytest.raises(UserError, match=words):
        AblationSettings(**{**good, **change})
