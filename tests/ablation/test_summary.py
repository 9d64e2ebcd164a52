"""Rows to summary, table and caveats, on a grid whose answers are known."""

import json

import numpy as np
import pytest

from ftjax.ablation.gates.gates import evaluate_gates
from ftjax.ablation.report.tables import markdown, shift_table, table_markdown, write_summary
from ftjax.ablation.statistics.mean_interval import mean_interval
from ftjax.ablation.summary.overall import mean_of_tasks
from ftjax.ablation.summary.summary import summarise
from ftjax.errors import UserError
from ftjax.evaluation.metric import Metric

LOWER = Metric(name='accuracy', higher_is_better=False)
ARMS = {'full': 0.80, 'head': 0.70, 'last:2': 0.84, 'scratch': 0.30}
SHARE = {'full': 1.0, 'head': 0.01, 'last:2': 0.2, 'scratch': 1.0}


def grid(seeds=5, rates=(1e-4, 1e-3, 1e-2), task=None, spread=0.01, seed=0):
    """Rows of a whole grid: every arm is best at 1e-3."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.03, seeds)
    rows = []
    for arm, level in ARMS.items():
        for rate in rates:
            for s in range(seeds):
                value = level + shared[s] + rng.normal(0, spread)
                value -= 0.1 * abs(np.log10(rate) + 3)
                row = {
                    'arm': arm,
                    'rate': rate,
                    'seed': s,
                    'status': 'ok',
                    'val': {'accuracy': value},
                    'test': {'accuracy': value - 0.01},
                    'params_trainable': int(1000 * SHARE[arm]),
                    'params_total': 1000,
                    'wall_seconds': 10.0,
                    'step_seconds_median': 0.02,
                }
                rows.append(row | ({'task': task} if task else {}))
    return rows


def arm_of(summary, name, task=0):
    return next(arm for arm in summary['tasks'][task]['arms'] if arm['arm'] == name)


def test_numbers_are_those_of_the_chosen_rate():
    rows = grid()
    summary = summarise(rows, reference='full')
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    head = arm_of(summary, 'head')
    tests = {
        row['seed']: row['test']['accuracy']
        for row in rows
        if row['arm'] == 'head' and row['rate'] == 1e-3
    }
    expected = mean_interval(list(tests.values()))
    assert head['rate'] == 1e-3 and head['rate_edge'] is None and head['n_trials'] == 3
    assert head['seeds'] == {str(seed): value for seed, value in tests.items()}
    assert head['mean']['estimate'] == pytest.approx(expected.estimate)
    assert (head['mean']['low'], head['mean']['high']) == (expected.low, expected.high)
    assert head['trainable_share'] == pytest.approx(0.01)
    assert summary['n_runs'] == 60 and summary['total_wall_seconds'] == 600
    assert [len(arm['curve']) for arm in summary['tasks'][0]['arms']] == [3] * 4


def test_verdicts_follow_the_known_levels():
    summary = summarise(grid(), reference='full')
    verdicts = {
        a['arm']: (a['difference'] or {}).get('verdict') for a in summary['tasks'][0]['arms']
    }
    assert verdicts == {'full': None, 'head': 'worse', 'last:2': 'better', 'scratch': 'worse'}
    assert arm_of(summary, 'last:2')['difference']['probability_better'] > 0.99
    losses = summarise(grid(), reference='full', metric=LOWER)
    # Read as a loss the grid's best rates are at its ends, and higher is worse.
    assert arm_of(losses, 'last:2')['difference']['verdict'] != 'better'
    noisy = summarise(grid(spread=0.2), reference='full')
    assert arm_of(noisy, 'last:2')['difference']['verdict'] == 'undecided'
    words = table_markdown(noisy)
    assert 'no significant difference (' in words and 'more seeds)' in words


def test_intervals_hold_together_and_give_the_verdicts():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(60):
        rows = [
            {'arm': f'arm{arm}', 'rate': None, 'seed': seed, 'status': 'ok', 'val': v, 'test': v}
            for arm in range(6)
            for seed in range(3)
            for v in [{'accuracy': 0.8 + rng.normal(0, 0.02)}]
        ]
        summary = summarise(rows, reference='arm0')
        verdicts = []
        for arm in summary['tasks'][0]['arms'][1:]:
            low, high = (arm['difference']['interval'][end] for end in ('low', 'high'))
            verdicts.append(arm['difference']['verdict'])
            assert (low > 0 or high < 0) == (verdicts[-1] in ('better', 'worse'))
        wrong += bool({'better', 'worse'} & {*verdicts})
    assert wrong <= 9  # 5 % of 60 are 3, and three standard errors


def test_a_difference_within_the_margin_is_equivalent():
    rows = grid(spread=0.001)
    rows += [{**row, 'arm': 'twin'} for row in grid(spread=0.001, seed=0) if row['arm'] == 'full']
    for row in rows:
        if row['arm'] == 'twin':
            row['test'] = {'accuracy': row['test']['accuracy'] + 0.0005 * (-1) ** row['seed']}
    summary = summarise(rows, reference='full')
    assert summary['margin'] == 0.01
    assert arm_of(summary, 'twin')['difference']['verdict'] == 'equivalent'
    assert 'equivalent (±1.0)' in table_markdown(summary)
    strict = summarise(rows, reference='full', margin=0.0)
    assert arm_of(strict, 'twin')['difference']['verdict'] == 'undecided'


def test_the_foot_of_the_table_tells_the_measured_rate_of_error():
    text = table_markdown(summarise(grid(), reference='full'))
    assert 'simulated grids of 4 arms beside the reference and 5 seeds' in text


def test_diverged_failed_and_missing_runs_are_counted_and_told():
    rows = grid()
    for row in rows:
        if row['arm'] == 'head' and row['seed'] == 1:
            row.update(status='diverged', val={}, test={})
        if row['arm'] == 'head' and row['seed'] == 2:
            row.update(status='failed', val={}, test={})
    rows = [row for row in rows if not (row['arm'] == 'last:2' and row['seed'] == 4)]
    summary = summarise(rows, reference='full')
    head, last = arm_of(summary, 'head'), arm_of(summary, 'last:2')
    assert (head['n'], head['n_ok'], head['n_diverged'], head['n_failed']) == (5, 3, 1, 1)
    assert head['seeds']['1'] is None and head['difference']['interval']['n'] == 3
    assert (last['n_ok'], last['n_missing']) == (4, 1)
    text = table_markdown(summary)
    assert '3 of 5 (1 diverged, 1 failed)' in text and '4 of 5 (1 missing)' in text
    assert any('head: 2 of 5 runs diverged (1) or failed (1)' in c for c in summary['caveats'])


def test_a_run_whose_metric_has_no_value_has_not_diverged():
    rows = grid()
    for row in rows:
        if row['arm'] == 'head' and row['seed'] == 1:
            row['test'] = {'accuracy': None}
    summary = summarise(rows, reference='full')
    head = arm_of(summary, 'head')
    assert (head['n_ok'], head['n_diverged'], head['n_undefined']) == (4, 0, 1)
    assert '4 of 5 (1 without a value)' in table_markdown(summary)
    assert any('1 of 5 runs finished without a value' in told for told in summary['caveats'])


def test_an_arm_that_never_finished_stays_in_the_table():
    rows = grid()
    for row in rows:
        if row['arm'] == 'scratch':
            row.update(status='diverged', val={}, test={})
    summary = summarise(rows, reference='full', arms=['full', 'scratch', 'never:run'])
    scratch, never = arm_of(summary, 'scratch'), arm_of(summary, 'never:run')
    assert scratch['mean'] is None and scratch['n_diverged'] == 5
    assert never['n_missing'] == 5 and never['difference'] is None
    assert scratch['difference'] is None
    text = table_markdown(summary)
    assert any('5 of 5 runs diverged; it has no mean.' in told for told in summary['caveats'])
    assert '0 of 5 (5 diverged)' in text and '0 of 5 (5 missing)' in text


def test_a_nan_test_score_counts_as_diverged():
    rows = grid()
    next(row for row in rows if row['rate'] == 1e-3)['test']['accuracy'] = float('nan')
    assert arm_of(summarise(rows, reference='full'), 'full')['n_diverged'] == 1


def test_caveats_name_edges_few_seeds_and_unequal_tuning():
    summary = summarise(grid(seeds=3, rates=(1e-3, 1e-2)), reference='full')
    text = ' '.join(summary['caveats'])
    assert 'the best rate 0.001 is the lowest that was tried' in text
    assert 'Only 3 seeds' in text
    assert '0.001 ↓' in table_markdown(summary)
    rows = [r for r in grid() if r['arm'] == 'full' or r['rate'] != 1e-2]
    assert 'unequal numbers of rates (2, 3)' in ' '.join(
        summarise(rows, reference='full')['caveats']
    )
    single = summarise(grid(rates=(1e-3,)), reference='full')
    assert 'none was tuned' in ' '.join(single['caveats'])


def test_untrained_arm_has_no_rate():
    rows = grid()
    for seed in range(5):
        rows.append(
            {
                'arm': 'pixels',
                'rate': None,
                'seed': seed,
                'status': 'ok',
                'val': {'accuracy': 0.2},
                'test': {'accuracy': 0.2},
            }
        )
    pixels = arm_of(summarise(rows, reference='full'), 'pixels')
    assert pixels['rate'] is None and pixels['n_ok'] == 5 and pixels['params_trainable'] is None


def test_several_tasks_are_aggregated():
    rows = grid(task='noise', seed=1) + grid(task='blur', seed=2)
    summary = summarise(rows, reference='full')
    assert [task['task'] for task in summary['tasks']] == ['noise', 'blur']
    overall = {arm['arm']: arm for arm in summary['overall']['arms']}
    both = [row['test']['accuracy'] for row in rows if row['arm'] == 'head' and row['rate'] == 1e-3]
    assert overall['head']['mean']['estimate'] == pytest.approx(np.mean(both))
    assert overall['head']['n_runs'] == 10
    difference = overall['last:2']['difference']
    assert difference['interval']['low'] > 0 and difference['verdict'] == 'better'
    gate = evaluate_gates([('above', 'last:2', 'full')], mean_of_tasks(summary, ['noise', 'blur']))
    low_high = [100 * difference['interval'][end] for end in ('low', 'high')]
    assert gate[0]['interval'] == pytest.approx(low_high)
    profile = overall['head']['profile']
    assert profile['share'][0] == 1 and profile['share'][-1] == 0
    assert '### All tasks together' in table_markdown(summary)
    more = summarise(rows, reference='full', arms=[*ARMS, 'pixels'], outside_prior=['pixels'])
    assert [arm['arm'] for arm in more['overall']['arms']] == [*ARMS]


def test_an_arm_that_diverges_at_every_rate_of_a_task_pays_for_all_its_seeds():
    """With fewer tuning seeds than seeds the others are not run there."""
    rows = grid(task='noise', seed=1) + grid(task='blur', seed=2)
    for row in rows:
        if (row['task'], row['arm']) == ('blur', 'last:2'):
            row.update(status='diverged', val={}, test={})
    tuned = [row for row in rows if row['status'] == 'ok' or row['seed'] == 0]
    told = [
        summarise(given, reference='full', seeds=range(5), tuning_seeds=[0])['overall']
        for given in (tuned, [row for row in rows if row['status'] == 'ok' or row['rate'] == 1e-3])
    ]
    found, everything = (
        next(arm for arm in overall['arms'] if arm['arm'] == 'last:2') for overall in told
    )
    assert (found['n_runs'], found['n_unfinished']) == (10, 5)
    assert found == everything
    finished = [
        row['test']['accuracy']
        for row in rows
        if (row['task'], row['arm'], row['rate']) == ('noise', 'last:2', 1e-3)
    ]
    worst = min(s for arm in told[0]['arms'] for s in [arm['profile']['thresholds'][0]])
    shares = dict(zip(found['profile']['thresholds'], found['profile']['share'], strict=True))
    assert max(share for at, share in shares.items() if at > worst + 0.01) == 0.5
    assert found['iqm']['estimate'] < np.mean(finished) - 0.1


def test_tasks_of_folds_are_aggregated_with_what_folds_share():
    rows = grid(seeds=10, task='noise', seed=1) + grid(seeds=10, task='blur', seed=2)
    plain, folds = (
        summarise(rows, reference='full', folds=k)['overall']['arms'][1] for k in (0, 5)
    )
    for kind in ('mean', 'iqm'):
        seen = [one[kind]['high'] - one[kind]['low'] for one in (folds, plain)]
        # s^2 (1/n + 1/4) over s^2/n, with 10 of them.
        assert seen[0] == pytest.approx(np.sqrt(1 + 10 / 4) * seen[1])
    one = [arm_of(summarise(rows, reference='full', folds=k), 'head')['iqm'] for k in (0, 5)]
    widths = [iqm['high'] - iqm['low'] for iqm in one]
    assert widths[1] == pytest.approx(np.sqrt(1 + 10 / 4) * widths[0])


def test_shifts_and_movement_are_averaged():
    rows = grid()
    for row in rows:
        row['shifts'] = {'blur': {'accuracy': row['test']['accuracy'] / 2}}
        row['movement'] = {'stem': 0.1 * row['seed'], 'head': 1.0}
    head = arm_of(summarise(rows, reference='full'), 'head')
    assert head['shifts']['blur']['mean']['estimate'] == pytest.approx(head['mean']['estimate'] / 2)
    assert head['shifts']['blur']['difference']['high'] < 0
    assert head['movement'] == pytest.approx({'stem': 0.2, 'head': 1.0})


def test_faults_are_named():
    with pytest.raises(UserError, match="did you mean 'head'"):
        summarise(grid(), reference='haed')
    with pytest.raises(UserError, match="no val metric 'f1_macro'"):
        summarise(grid(), reference='full', val_metric='f1_macro')
    with pytest.raises(UserError, match="no test metric 'f1_macro'"):
        summarise(grid(), reference='full', metric='f1_macro', val_metric='accuracy')
    with pytest.raises(UserError, match='unknown status'):
        summarise([{**grid()[0], 'status': 'okay'}], reference='full')


def test_files_are_written_and_rows_line_up(tmp_path):
    summary = summarise(grid(), reference='full', question='How much must train?')
    write_summary(tmp_path, summary)
    assert json.loads((tmp_path / 'summary.json').read_text()) == summary
    text = (tmp_path / 'table.md').read_text()
    lines = [line for line in text.splitlines() if line.startswith('|')]
    assert len(lines) == 2 + len(ARMS) and len({len(line) for line in lines}) == 1
    assert text.startswith('**How much must train?**')
    assert markdown(['a|b'], [['c']]).splitlines()[0] == '| a\\|b |'


def test_a_summary_tells_how_many_test_examples_stand_in_training():
    rows = [{**row, 'leaks': {'n': 40, 'exact': row['seed'] % 2, 'near': 3}} for row in grid()]
    told = 'Test examples that also stand in training: up to 1 of 40 exact, 3 near copies.'
    assert summarise(rows, reference='full')['caveats'][0] == told


def test_a_further_test_set_says_how_many_examples_it_has():
    rows = [
        {
            'task': '',
            'arm': arm,
            'rate': 1e-3,
            'seed': seed,
            'status': 'ok',
            'val': {'accuracy': 0.5},
            'test': {'accuracy': 0.5},
            'shifts': {'fog': {'accuracy': 0.4, 'n': 1210}, 'old rows': {'accuracy': 0.3}},
            'params_trainable': 1,
            'params_total': 2,
        }
        for arm in ('full', 'head')
        for seed in range(3)
    ]
    summary = summarise(rows, reference='full')
    header, _ = shift_table(summary['tasks'][0], summary)
    assert header == ['arm', 'fog (n = 1,210)', 'old rows']
