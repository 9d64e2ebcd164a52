"""Gates: the orderings that pass, those that fail, and what is said about either."""

import numpy as np
import pytest

from ftjax.ablation.gates.gate_table import gate_rows
from ftjax.ablation.gates.gates import check_gates, evaluate_gates
from ftjax.ablation.report.gate_verdicts import grid_verdicts
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.summary import summarise
from ftjax.errors import UserError
from ftjax.evaluation.metric import Metric

DEPTHS = ('head', 'last:1', 'last:2', 'last:3', 'full')
CURVE = (0.60, 0.80, 0.85, 0.88, 0.89)


def summary_of(means, spread=0.01, noise=0.001, **options):
    """A summary of arms at these means, over three seeds: what they share, and a little noise."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, mean in means.items():
        own = rng.normal(0, noise, 3)
        for seed, extra in enumerate(own - own.mean()):
            score = {'accuracy': mean + spread * (seed - 1) + extra}
            row = {'arm': arm, 'rate': None, 'seed': seed, 'status': 'ok', 'val': score}
            rows.append({**row, 'test': score})
    return summarise(rows, reference=next(iter(means)), **options)


def verdicts(gates, means, **options):
    check_gates(gates, list(means))
    return evaluate_gates(gates, summary_of(means, **options))


def outcome(gate, curve, **options):
    return verdicts([gate], dict(zip(DEPTHS, curve, strict=True)), **options)[0]


def test_a_curve_that_rises_and_saturates_passes_all():
    gates = [(name, *DEPTHS) for name in ('rises', 'saturates', 'first_step_largest')]
    found = verdicts(gates, dict(zip(DEPTHS, CURVE, strict=True)))
    assert [one['passed'] for one in found] == [True] * 3
    assert [one['value'] for one in found] == pytest.approx([29.0, 21.0, 15.0])
    # What seeds share is no spread of the difference.
    low, high = found[0]['interval']
    assert 28 < low < 29 < high < 30
    assert set(found[0]) == {'gate', 'passed', 'value', 'interval', 'kind'}


@pytest.mark.parametrize(
    ('rule', 'curve'),
    [
        ('rises', (0.9, 0.85, 0.8, 0.75, 0.7)),
        ('rises', (0.6, 0.8, 0.7, 0.88, 0.89)),  # a fall in the middle, of no spread
        ('saturates', (0.6, 0.62, 0.65, 0.75, 0.9)),
        ('first_step_largest', (0.6, 0.65, 0.85, 0.88, 0.89)),
    ],
)
def test_other_curves_fail(rule, curve):
    assert outcome((rule, *DEPTHS), curve)['passed'] is False


def test_a_fall_within_noise_is_none():
    rows = []
    noise = {'head': (0.0, 0.0, 0.0), 'last:1': (0.02, -0.02, 0.0), 'full': (-0.02, 0.02, -0.01)}
    for arm, mean in {'head': 0.6, 'last:1': 0.8, 'full': 0.8}.items():
        for seed, extra in enumerate(noise[arm]):
            score = {'accuracy': mean + extra}
            row = {'arm': arm, 'rate': None, 'seed': seed, 'status': 'ok', 'val': score}
            rows.append({**row, 'test': score})
    summary = summarise(rows, reference='full')
    found = evaluate_gates([('rises', 'head', 'last:1', 'full')], summary)[0]
    assert found['passed'] and found['interval'][0] < found['value'] < found['interval'][1]


def test_a_gate_and_the_table_cannot_disagree():
    means = {'all': 0.6, 'head': 0.64, 'first': 0.605, 'last': 0.55}
    gates = [('above', arm, 'all') for arm in means if arm != 'all']
    for noise in (0.002, 0.02, 0.1):
        for higher in (True, False):
            metric = Metric(name='accuracy', higher_is_better=higher, bounds=(0.0, 1.0))
            summary = summary_of(means, noise=noise, metric=metric)
            rows = summary['tasks'][0]['arms'][1:]
            for gate, arm in zip(evaluate_gates(gates, summary), rows, strict=True):
                verdict, interval = arm['difference']['verdict'], arm['difference']['interval']
                outcomes = {'better': True, 'undecided': None}
                assert gate['passed'] is outcomes.get(verdict, False)
                ends = [(1 if higher else -1) * 100 * interval[end] for end in ('low', 'high')]
                assert gate['interval'] == pytest.approx(sorted(ends))


def test_seeds_that_do_not_settle_a_claim_leave_it_undecided():
    gates = [('above', 'full', 'head'), ('worst', 'head'), ('rises', 'head', 'last:1', 'full')]
    found = verdicts(gates, {'head': 0.6, 'last:1': 0.61, 'full': 0.62}, noise=0.05)
    assert [one['passed'] for one in found] == [None] * 3
    assert {row[-1] for row in gate_rows(found)} == {'undecided'}


def test_the_worst_arm_is_below_all_others():
    means = {'full': 0.9, 'head': 0.5, 'last:1': 0.7}
    best, worst = verdicts([('worst', 'full'), ('worst', 'head')], means)
    assert best['passed'] is False and best['value'] == pytest.approx(-40)
    assert worst['passed'] is True and worst['value'] == pytest.approx(20)


def test_a_report_has_no_verdict_and_an_unfinished_gate_is_undecided():
    means = {'gradual': 0.8, 'full': 0.9}
    report, gate = verdicts(
        [('difference', 'gradual', 'full'), ('above', 'full', 'gradual')], means
    )
    assert report['passed'] is None and report['kind'] == 'report'
    assert report['value'] == pytest.approx(-10)
    assert gate['passed'] is True
    summary = summary_of(means)
    summary['tasks'][0]['arms'][0]['seeds'] = {'0': None, '1': None, '2': None}
    lost = evaluate_gates([('above', 'full', 'gradual')], summary)[0]
    assert lost['passed'] is None and lost['value'] is None
    words = [row[-1] for row in gate_rows([report, gate, lost])]
    assert words == ['reported', 'passed', 'undecided']


def test_small_numbers_of_a_gate_are_not_rounded_to_nothing():
    small = {'gate': 'a', 'passed': True, 'value': 0.0038, 'interval': [0.0031, 0.0044]}
    assert gate_rows([small])[0][2:4] == ['+0.00380', '[+0.00310, +0.00440]']
    points = {**small, 'value': -12.34, 'interval': [-20.0, -0.004]}
    assert gate_rows([points])[0][2:4] == ['-12.34', '[-20.00, -0.00]']
    none = {**small, 'value': 0.0, 'interval': None}
    assert gate_rows([none])[0][2:4] == ['+0.00', '–']


def test_of_losses_less_is_better():
    lower = Metric(name='accuracy', higher_is_better=False)
    found = verdicts([('above', 'a', 'b')], {'a': 0.1, 'b': 0.4}, metric=lower)[0]
    assert found['passed'] is True and found['value'] == pytest.approx(30)


@pytest.mark.parametrize(
    ('gate', 'words'),
    [
        (('risez', 'head'), "did you mean 'rises'"),
        (('worst', 'heat'), "did you mean 'head'"),
        (('rises', 'head', 'full'), 'needs 3 arms, it has 2'),
        (('above', 'head', 'full', 'last:1'), 'needs 2 arms, it has 3'),
    ],
)
def test_mistakes_are_named(gate, words):
    with pytest.raises(UserError, match=words):
        check_gates([gate], DEPTHS)
    with pytest.raises(UserError, match=r'config\.ablation\.retention_gates:'):
        check_gates([gate], DEPTHS, 'retention_gates')


def test_gates_that_are_told_as_reports_are_not_judged():
    settings = AblationSettings(
        arms={'head': 'head', 'full': 'full'},
        rates=(1e-3,),
        gates=(('above', 'head', 'full'), ('above', 'full', 'head')),
        reports=('head above full',),
    )
    found = grid_verdicts(settings, summary_of({'head': 0.6, 'full': 0.9}), [])
    told = [(one['kind'], one['passed'], round(one['value'])) for one in found]
    assert told == [('report', None, -30), ('gate', True, 30)]


def test_what_decides_is_named_where_it_is_not_what_is_shown():
    found = outcome(('rises', *DEPTHS), (0.6, 0.8, 0.7, 0.88, 0.89))
    assert found['passed'] is False and found['value'] == pytest.approx(29.0)
    decides = found['decided_by']
    assert decides['of'] == 'last:1 to last:2' and decides['value'] == pytest.approx(-10)
    assert decides['interval'][0] < -10 < decides['interval'][1] < 0
    ((claim, kind, value, _, result),) = gate_rows([found])
    assert 'no step falls; failed by last:1 to last:2: -10.00 [-10.' in claim
    assert (kind, value, result) == ('gate', '+29.00', 'failed')


def test_what_decides_has_the_sign_of_its_gate():
    found = outcome_of_errors((0.6, 0.8, 0.7, 0.88, 0.89))
    assert found['passed'] is False and found['value'] == pytest.approx(0.29, abs=0.01)
    assert found['decided_by']['of'] == 'last:1 to last:2 (signs turned)'
    assert found['decided_by']['value'] == pytest.approx(-0.1, abs=0.01)


def outcome_of_errors(curve):
    """`rises` of 1 minus a curve, as an error: above is lower."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, mean in zip(DEPTHS, curve, strict=True):
        for seed in range(3):
            score = {'nll': 1 - mean + 0.01 * seed + rng.normal(0, 0.001)}
            row = {'arm': arm, 'rate': None, 'seed': seed, 'status': 'ok', 'val': score}
            rows.append({**row, 'test': score})
    summary = summarise(rows, reference='head', metric='nll')
    return evaluate_gates([('rises', *DEPTHS)], summary)[0]


def test_what_is_shown_decides_by_itself():
    assert 'decided_by' not in outcome(('rises', *DEPTHS), (0.9, 0.85, 0.8, 0.75, 0.7))
    assert 'decided_by' not in outcome(('rises', *DEPTHS), CURVE)
    # The last step is the largest of all, and so is nothing but noise: both are undecided.
    level = outcome(('last_step_largest', *DEPTHS), (0.6, 0.6, 0.6, 0.6, 0.601), noise=0.05)
    assert level['passed'] is None and 'decided_by' not in level


def test_a_gate_left_undecided_by_another_difference_names_it():
    # Far above the last step but one; whether it rises at all is open.
    curve = (0.9, 0.7, 0.5, 0.3, 0.302)
    found = outcome(('last_step_largest', *DEPTHS), curve, noise=0.02)
    assert found['passed'] is None and found['value'] > 5 and found['interval'][0] > 0
    assert found['decided_by']['of'] == 'last:3 to full'
    assert 'left undecided by last:3 to full' in gate_rows([found])[0][0]


def test_a_report_is_told_without_what_would_decide_it():
    arms = dict(zip(DEPTHS, (0.6, 0.8, 0.7, 0.88, 0.89), strict=True))
    settings = AblationSettings(
        arms={arm: arm for arm in DEPTHS},
        rates=(0.1,),
        gates=(('rises', *DEPTHS),),
        reports=('rises over',),
    )
    (found,) = grid_verdicts(settings, summary_of(arms), [])
    assert found['kind'] == 'report' and 'decided_by' not in found
    assert 'reported by' not in gate_rows([found])[0][0]


@pytest.mark.parametrize('gate', [('above', 'head', 'head'), ('rises', 'head', 'full', 'head')])
def test_a_gate_names_no_arm_twice(gate):
    with pytest.raises(UserError, match='names an arm twice'):
        check_gates([gate], list(DEPTHS))
