"""The runner repeats nothing, goes on after an interruption, and never mixes two ablations."""

import dataclasses

import numpy as np
import pytest

from ftjax.ablation.cells.pixel_baseline import PixelRegression
from ftjax.ablation.grid.cell_schedule import FullGrid
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.settings import AblationSettings, read_ablation
from ftjax.ablation.summary.summary import summarise
from ftjax.errors import UserError

SETTINGS = AblationSettings(
    arms={'full': 'full', 'head': 'head', 'pixels': {'baseline': 'pixels'}},
    rates=(1e-3, 1e-2, 1e-1),
    seeds=(0, 1),
)


def execute(arm, rate, seed):
    peak = {'full': 1e-2, 'head': 1e-1}.get(arm, 1.0)
    accuracy = 0.5 if rate is None else 0.9 - 0.1 * abs(np.log10(rate / peak)) + 0.01 * seed
    return {'status': 'ok', 'val': {'accuracy': accuracy}, 'test': {'accuracy': accuracy}}


def test_a_winner_on_the_edge_extends_the_grid_with_equal_trials(tmp_path):
    rows = run_grid(SETTINGS, execute, tmp_path, {}, progress=False)
    tried = {arm: {row['rate'] for row in rows if row['arm'] == arm} for arm in SETTINGS.arms}
    assert max(tried['head']) > 1e-1
    assert len(tried['head']) == len(tried['full'])
    assert tried['pixels'] == {None}


def test_interrupted_anywhere_it_ends_with_the_same_rows(tmp_path):
    whole = run_grid(SETTINGS, execute, tmp_path / 'whole', {}, progress=False)
    calls = []

    def dying(*cell):
        if len(calls) % 3 == 2:
            calls.append(None)
            raise KeyboardInterrupt
        calls.append(cell)
        return execute(*cell)

    for _ in range(30):
        try:
            rows = run_grid(SETTINGS, dying, tmp_path / 'parts', {}, progress=False)
            break
        except KeyboardInterrupt:
            continue

    def key(row):
        return row['arm'], row['rate'] or 0, row['seed'], row['test']['accuracy']

    assert sorted(map(key, rows)) == sorted(map(key, whole))
    cells = [cell for cell in calls if cell is not None]
    assert len(cells) == len(set(cells)) == len(whole)


def test_rows_of_a_later_round_count_once_that_round_asks_for_them(tmp_path):
    arms = {'full': 'full', 'head': {'freeze': 'head', 'rates': (1e-3, 1e-2, 1e-1)}}
    settings = AblationSettings(arms=arms, rates=(1e-3, 1e-2, 1e-1), seeds=(0, 1))
    first = run_grid(settings, execute, tmp_path, {}, progress=False)
    refined = {row['rate'] for row in first if row['arm'] == 'full'} - set(settings.rates)
    assert refined
    # Another starting rate of one arm puts the search back to its first round.
    other = {**arms, 'head': {'freeze': 'head', 'rates': (3e-3, 1e-2, 1e-1)}}
    calls = []

    def noted(*cell):
        calls.append(cell)
        return execute(*cell)

    changed = dataclasses.replace(settings, arms=other)
    second = run_grid(changed, noted, tmp_path, {}, progress=False)
    assert refined <= {row['rate'] for row in second if row['arm'] == 'full'}
    there = {(row['arm'], row['rate'], row['seed']) for row in first}
    assert calls and not there & set(calls)
    assert run_grid(changed, None, tmp_path, {}, progress=False) == second


def test_a_folder_of_another_ablation_is_refused(tmp_path):
    run_grid(SETTINGS, execute, tmp_path, {'epochs': 1}, progress=False)
    with pytest.raises(UserError, match='another config'):
        run_grid(SETTINGS, execute, tmp_path, {'epochs': 2}, progress=False)


def test_a_folder_from_before_a_setting_was_there_goes_on(tmp_path):
    rows = run_grid(SETTINGS, execute, tmp_path, {'data': {'seed': 0}}, progress=False)
    now = {'data': {'seed': 0, 'folds': 0, 'corruption': 'none'}}
    assert run_grid(SETTINGS, None, tmp_path, now, progress=False) == rows
    now['data']['folds'] = 5
    with pytest.raises(UserError, match='another config'):
        run_grid(SETTINGS, None, tmp_path, now, progress=False)


@pytest.mark.parametrize('name', ['arms', 'also_evaluate'])
def test_what_an_arm_or_a_test_set_turns_off_is_another_ablation(tmp_path, name):
    def settings(**more):
        given = {'a': {'freeze': 'head', 'data.augment': 'crop', **more}}
        return dataclasses.replace(SETTINGS, **{name: {**getattr(SETTINGS, name), **given}})

    run_grid(settings(), execute, tmp_path, {}, progress=False)
    for off in (0.0, 'none', None, False):
        with pytest.raises(UserError, match=f'{name}.a.off is given only here'):
            run_grid(settings(off=off), None, tmp_path, {}, progress=False)


def test_folds_are_a_dimension_of_the_grid(tmp_path):
    settings = dataclasses.replace(SETTINGS, folds=3, max_extra=0)
    rows = run_grid(settings, execute, tmp_path, {}, progress=False)
    assert settings.draws == tuple(range(6))
    assert [settings.seed_and_fold(draw) for draw in settings.draws] == [
        (seed, fold) for seed in (0, 1) for fold in (0, 1, 2)
    ]
    assert {row['seed'] for row in rows} == set(range(6)) and len(rows) == 6 * 7
    summary = summarise(rows, reference='full', seeds=settings.draws, folds=3)
    narrow = summarise(rows, reference='full', seeds=settings.draws)
    means = [one['tasks'][0]['arms'][1]['mean'] for one in (summary, narrow)]
    assert means[0]['low'] < means[1]['low'] and means[0]['estimate'] == means[1]['estimate']
    assert any('3-fold cross-validation' in caveat for caveat in summary['caveats'])
    with pytest.raises(UserError, match='folds is 1'):
        dataclasses.replace(SETTINGS, folds=1)
    with pytest.raises(UserError, match='another config'):
        run_grid(SETTINGS, execute, tmp_path, {}, progress=False)


def test_settings_name_the_mistake():
    with pytest.raises(UserError, match='arms'):
        read_ablation({'armz': {}})
    with pytest.raises(UserError, match='rates is missing'):
        read_ablation({'arms': {'full': 'full'}})
    with pytest.raises(UserError, match="also_evaluate: 'noisy' is 3"):
        AblationSettings(arms={'full': 'full'}, rates=(1e-3,), also_evaluate={'noisy': 3})
    with pytest.raises(UserError, match='reference'):
        AblationSettings(arms={'full': 'full'}, rates=(1e-3,), reference='ful')


OWN = AblationSettings(
    arms={
        'full': 'full',
        'head': {'freeze': 'head', 'rates': (0.1, 1.0, 10.0)},
        'pixels': {'baseline': 'pixels'},
    },
    rates=(1e-3, 1e-2, 1e-1),
    seeds=(0, 1),
)


def test_an_arm_runs_at_its_own_rates_and_as_often(tmp_path):
    assert OWN.grids == {'full': (1e-3, 1e-2, 1e-1), 'head': (0.1, 1.0, 10.0)}
    assert OWN.changes('head') == {'freeze': 'head'}

    def best_at_one(arm, rate, seed):
        return execute(arm, None if rate is None else rate / 10 if arm == 'head' else rate, seed)

    rows = run_grid(OWN, best_at_one, tmp_path, {}, progress=False)
    tried = {arm: sorted({row['rate'] for row in rows if row['arm'] == arm}) for arm in OWN.grids}
    assert tried == {'full': [1e-3, 1e-2, 1e-1], 'head': [0.1, 1.0, 10.0]}
    table = summarise(rows, reference='full', arms=list(OWN.arms))
    chosen = {arm['arm']: arm['rate'] for arm in table['tasks'][0]['arms']}
    assert chosen == {'full': 1e-2, 'head': 1.0, 'pixels': None}
    # Nothing is left to run, and nothing is run again.
    assert run_grid(OWN, None, tmp_path, {}, progress=False) == rows


def test_further_rates_are_counted_and_told(tmp_path, capsys):
    settings = dataclasses.replace(OWN, arms={'full': 'full'}, rates=(1e-4, 1e-3), max_extra=3)
    rows = run_grid(settings, execute, tmp_path, {})
    told = capsys.readouterr()
    more = len(rows) - FullGrid(settings).planned
    assert more > 0 and 'a further round, runs: 2' in told.out
    assert f'{len(rows)}/{len(rows)} (100 %), done' in told.err


@pytest.mark.parametrize(
    ('arm', 'words'),
    [
        ({'freeze': 'head', 'rates': (1e-2,)}, "'head' has 1 rates and the others 3"),
        ({'freeze': 'head', 'rates': (1e-2, -1.0, 1.0)}, 'each above 0'),
        ({'baseline': 'pixels', 'rates': (1e-3, 1e-2, 1e-1)}, 'is a baseline'),
    ],
)
def test_a_grid_that_would_not_be_fair_is_refused(arm, words):
    with pytest.raises(UserError, match=words):
        AblationSettings(arms={'full': 'full', 'head': arm}, rates=(1e-3, 1e-2, 1e-1))


def test_pixels_are_scikit_learns_logistic_regression():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    inputs = (80 * labels[:, None] + rng.normal(0, 20, (60, 4))).clip(0, 255).astype(np.uint8)
    part = inputs, labels
    found = PixelRegression(part, part)
    outputs, accuracy, penalty = found.outputs(inputs), found.accuracy, found.penalty
    assert accuracy == (outputs.argmax(1) == labels).mean() > 0.9
    assert penalty in (0.01, 0.1, 1.0, 10.0)
    np.testing.assert_allclose(np.exp(outputs).sum(1), 1, rtol=1e-5)


def test_rates_are_tried_with_some_seeds_and_the_chosen_one_runs_with_all(tmp_path):
    settings = dataclasses.replace(SETTINGS, seeds=(0, 1, 2, 3, 4), tuning_seeds=2, max_extra=0)
    asked = []

    def dying(arm, rate, seed):
        asked.append((arm, rate, seed))
        if len(asked) == 9:
            raise KeyboardInterrupt
        return execute(arm, rate, seed)

    with pytest.raises(KeyboardInterrupt):
        run_grid(settings, dying, tmp_path, {}, progress=False)
    rows = run_grid(settings, dying, tmp_path, {}, progress=False)
    seeds = {}
    for row in rows:
        seeds.setdefault((row['arm'], row['rate']), set()).add(row['seed'])
    few, all_of_them = {0, 1}, {0, 1, 2, 3, 4}
    assert seeds == {
        ('pixels', None): all_of_them,
        **{('full', rate): all_of_them if rate == 1e-2 else few for rate in settings.rates},
        **{('head', rate): all_of_them if rate == 1e-1 else few for rate in settings.rates},
    }
    assert len(rows) == FullGrid(settings).planned == 2 * (3 * 2 + 3) + 5
    chosen_by = {'seeds': settings.draws, 'tuning_seeds': settings.tuning_draws}
    summary = summarise(rows, reference='full', **chosen_by)
    full = summary['tasks'][0]['arms'][0]
    assert (full['rate'], full['n_ok'], full['n_missing']) == (1e-2, 5, 0)
    assert {tuple(point['values']) for point in full['curve']} == {('0', '1')}
    assert any('Rates were tried with 2 of the 5 seeds' in said for said in summary['caveats'])
    for wrong, words in (
        ({'tuning_seeds': 6}, 'there are 5 seeds'),
        ({'budget': '9 runs'}, 'does not go with config.ablation.budget'),
        ({'tune': {'train.epochs': (1.0, 2.0)}}, 'does not go with config.ablation.tune'),
    ):
        with pytest.raises(UserError, match=words):
            dataclasses.replace(settings, **wrong)
