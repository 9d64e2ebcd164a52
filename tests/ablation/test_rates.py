"""The rate search: winner, ties, edges, divergence and equal trials."""

import math

import pytest

from ftjax.ablation.rates.choice import check_rates, choose_rate, rate_curve
from ftjax.ablation.rates.search import grid_factor, next_trials, search_rates
from ftjax.errors import UserError

GRID = [1e-4, 1e-3, 1e-2]


def rows_of(results, arm='head'):
    """Rows from {rate: [value of seed 0, 1, ..]}; None is a diverged run."""
    return [
        {
            'arm': arm,
            'rate': rate,
            'seed': seed,
            'status': 'diverged' if value is None else 'ok',
            'val': {} if value is None else {'accuracy': value},
        }
        for rate, values in results.items()
        for seed, value in enumerate(values)
    ]


def choice_of(results, **options):
    return choose_rate(rate_curve(rows_of(results), 'accuracy'), **options)


def test_best_mean_wins_and_the_whole_curve_is_kept():
    choice = choice_of({1e-2: [0.5, 0.6], 1e-4: [0.2, 0.9], 1e-3: [0.7, 0.6]})
    assert choice.rate == 1e-3 and choice.edge is None and choice.trials == 3
    assert [point.rate for point in choice.curve] == GRID
    assert [point.mean for point in choice.curve] == pytest.approx([0.55, 0.65, 0.55])
    assert choice_of({1e-4: [3.0], 1e-3: [1.0], 1e-2: [2.0]}, higher_is_better=False).rate == 1e-3


def test_winner_on_the_edge_is_seen():
    assert choice_of({1e-4: [0.9], 1e-3: [0.8], 1e-2: [0.7]}).edge == 'low'
    assert choice_of({1e-4: [0.1], 1e-3: [0.8], 1e-2: [0.9]}).edge == 'high'
    assert choice_of({1e-3: [0.9]}).edge is None


@pytest.mark.parametrize(
    'values,rate',
    [
        ([0.9, 0.9, 0.5, 0.1], 1e-3),  # an inside rate before one on the edge
        ([0.1, 0.9, 0.9, 0.2], 1e-3),  # the lower of two
        ([0.9, 0.9, 0.9, 0.9], 1e-3),  # a plateau to both edges
        ([0.9, 0.1, 0.1, 0.9], 1e-4),  # both edges
    ],
)
def test_ties(values, rate):
    results = {10.0 ** (i - 4): [value] for i, value in enumerate(values)}
    assert choice_of(results).rate == pytest.approx(rate)


def test_tolerance_widens_a_tie():
    results = {1e-4: [0.8], 1e-3: [0.895], 1e-2: [0.9]}
    assert choice_of(results).rate == 1e-2
    wide = choice_of(results, tolerance=0.01)
    assert wide.rate == 1e-3 and wide.tied == (1e-3, 1e-2)


def test_a_diverged_seed_costs_the_rate_its_win():
    choice = choice_of({1e-4: [0.5, 0.5], 1e-3: [0.6, 0.6], 1e-2: [0.99, None]})
    assert choice.rate == 1e-3
    assert choice.curve[2].n_unfinished == 1 and choice.curve[2].mean == 0.99
    # All rates have one: the fewest decide, and an arm that never finished has no rate.
    assert choice_of({1e-4: [None, None, 0.9], 1e-3: [0.1, None, 0.2]}).rate == 1e-3
    assert choice_of({1e-4: [None], 1e-3: [None]}).rate is None


def test_later_seeds_of_the_winner_do_not_enter():
    rows = rows_of({1e-4: [0.70], 1e-3: [0.71, 0.1, 0.1]})
    choice = choose_rate(rate_curve(rows, 'accuracy'))
    assert choice.rate == 1e-3 and choice.seeds == (0,)
    with pytest.raises(UserError, match='no seed was run at every one of its 2 rates'):
        rate_curve([{**rows[0], 'seed': 5}, rows[1]], 'accuracy')


def test_repeated_cell_counts_once_with_its_last_result():
    rows = rows_of({1e-3: [None]}) + rows_of({1e-3 * (1 + 1e-12): [0.8]})
    curve = rate_curve(rows, 'accuracy')
    assert len(curve) == 1 and curve[0].values == {0: 0.8}


def test_missing_metric_is_named():
    with pytest.raises(UserError, match="no val metric 'f1'; it has: accuracy"):
        rate_curve(rows_of({1e-3: [0.5]}), 'f1')


def test_untrained_arm_has_one_point_without_a_rate():
    choice = choice_of({None: [0.4, 0.4]})
    assert choice.rate is None and choice.edge is None
    assert choice.curve[0].mean == pytest.approx(0.4)
    assert next_trials(GRID, {'none': choice}) == {}


def test_search_stops_inside_the_grid():
    inside = choice_of({1e-4: [0.1], 1e-3: [0.9], 1e-2: [0.2]})
    assert next_trials(GRID, {'a': inside, 'b': inside}) == {}


def test_edge_extends_by_the_same_factor_and_others_refine():
    inside = choice_of({1e-4: [0.1], 1e-3: [0.9], 1e-2: [0.2]})
    low = choice_of({1e-4: [0.9], 1e-3: [0.5], 1e-2: [0.2]})
    high = choice_of({1e-4: [0.1], 1e-3: [0.5], 1e-2: [0.9]})
    trials = next_trials(GRID, {'inside': inside, 'low': low, 'high': high})
    assert trials['low'] == pytest.approx(1e-5)
    assert trials['high'] == pytest.approx(1e-1)
    assert trials['inside'] == pytest.approx(math.sqrt(1e-3 * 1e-2), rel=1e-5)


def test_search_is_bounded_and_keeps_trials_equal():
    # An arm that always gets better with a higher rate and one that peaks inside.
    def run(arm, rate):
        return rate if arm == 'rising' else -abs(math.log10(rate) + 3)

    results = {arm: {rate: [run(arm, rate)] for rate in GRID} for arm in ('rising', 'peak')}
    rounds = 0
    while True:
        choices = {arm: choice_of(found) for arm, found in results.items()}
        trials = next_trials(GRID, choices, max_extra=3)
        if not trials:
            break
        rounds += 1
        assert rounds <= 3 and set(trials) == {'rising', 'peak'}
        for arm, rate in trials.items():
            assert rate not in results[arm]
            results[arm][rate] = [run(arm, rate)]
    assert rounds == 3
    assert sorted(results['rising']) == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0])
    assert len(results['peak']) == len(results['rising'])
    assert choices['rising'].edge == 'high' and choices['peak'].edge is None
    # A limit ends it as well.
    assert next_trials(GRID, {'rising': choices['rising']}, max_extra=9, highest=50.0) == {}


def test_grids_are_checked():
    assert grid_factor([1e-2, 1e-4, 1e-3]) == pytest.approx(10)
    assert grid_factor([3e-4, 1e-3, 3e-3, 1e-2]) == pytest.approx((1e-2 / 3e-4) ** (1 / 3))
    for bad, words in (([0.0], 'positive'), ([math.nan], 'finite'), ([1, 1.0], 'twice')):
        with pytest.raises(UserError, match=words):
            check_rates(bad)
    with pytest.raises(UserError, match="not '1e-3'"):
        check_rates(['1e-3'])


def result_of(arm, rate, seed):
    """An arm that rises with the rate, one that peaks inside, one that diverges early."""
    if arm == 'fragile' and rate > 5e-4:
        return None
    return {'rising': rate, 'peak': -abs(math.log10(rate) + 3), 'fragile': rate}[arm] + seed


def run_search(rows, cells_at_a_time):
    arms = ['rising', 'peak', 'fragile']
    options = {'arms': arms, 'grid': GRID, 'seeds': [0, 1], 'metric': 'accuracy'}
    while pending := search_rates(rows, **options).pending:
        for arm, rate, seed in pending[:cells_at_a_time]:
            value = result_of(arm, rate, seed)
            ok = value is not None
            row = {'arm': arm, 'rate': rate, 'seed': seed, 'status': 'ok' if ok else 'diverged'}
            rows = [*rows, {**row, 'val': {'accuracy': value} if ok else {}}]
    return rows, search_rates(rows, **options)


def test_search_is_the_same_however_often_it_is_interrupted():
    rows, whole = run_search([], 1000)
    one_by_one, cut = run_search([], 1)
    assert cut == whole
    assert {(r['arm'], r['rate'], r['seed']) for r in rows} == {
        (r['arm'], r['rate'], r['seed']) for r in one_by_one
    }
    assert len(rows) == len(one_by_one) == 3 * (3 + 2) * 2 and whole.rounds == 2
    assert {choice.trials for choice in whole.choices.values()} == {5}
    assert whole.choices['rising'].rate == pytest.approx(1.0)
    assert whole.choices['rising'].edge == 'high'
    assert whole.choices['peak'].rate == pytest.approx(1e-3)
    # Above 5e-4 it diverges: those rates are in the curve and never win.
    fragile = whole.choices['fragile']
    assert fragile.rate < 5e-4 and max(p.n_unfinished for p in fragile.curve) == 2


def test_extra_seeds_and_foreign_rows_do_not_change_the_search():
    rows, whole = run_search([], 1000)
    more = [
        {**rows[0], 'rate': 1e-3, 'seed': 9, 'val': {'accuracy': 99.0}},
        {**rows[0], 'arm': 'pixels', 'rate': None},
        {**rows[0], 'rate': 7e-3, 'val': {'accuracy': 99.0}},
    ]
    options = {'grid': GRID, 'seeds': [0, 1], 'metric': 'accuracy'}
    assert search_rates(rows + more, arms=['rising', 'peak', 'fragile'], **options) == whole


def test_every_arm_may_have_a_grid_of_its_own():
    # One arm still falls at the lowest of low rates, the other peaks inside high ones.
    grids = {'low': [1e-5, 1e-4, 1e-3], 'high': [1e-2, 5e-2, 25e-2]}
    scores = {'low': lambda rate: -math.log10(rate), 'high': lambda rate: -abs(rate - 5e-2)}
    options = {'arms': ['low', 'high'], 'grid': grids, 'seeds': [0], 'metric': 'accuracy'}
    rows = []
    while pending := search_rates(rows, **options, max_extra=1).pending:
        for arm, rate, seed in pending:
            row = {'arm': arm, 'rate': rate, 'seed': seed, 'status': 'ok'}
            rows.append({**row, 'val': {'accuracy': scores[arm](rate)}})
    tried = {arm: sorted(row['rate'] for row in rows if row['arm'] == arm) for arm in grids}
    assert tried['low'] == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3])
    # As many trials, though its winner was inside: between it and its better neighbour.
    assert tried['high'] == pytest.approx([1e-2, math.sqrt(5e-4), 5e-2, 25e-2], rel=1e-5)
