"""A race on made-up scores: who stops when, what it costs, and that it is the same when resumed."""

import dataclasses
import json
import math
import os

import numpy as np
import pytest

from ftjax.ablation.budgets.budget import read_budget
from ftjax.ablation.engines.factory import make_engine
from ftjax.ablation.engines.process_workers import Processes
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.grid.short_runs import arm_and_share, short
from ftjax.ablation.racing.account import described, seeds_run, sentences
from ftjax.ablation.racing.looks import final
from ftjax.ablation.racing.narrowing import SHARE, pilots_of, rank_correlation
from ftjax.ablation.racing.race import Race
from ftjax.ablation.racing.rate_rounds import middle
from ftjax.ablation.racing.replay import play, replay
from ftjax.ablation.racing.spending import early
from ftjax.ablation.rates.choice import RatePoint
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.summary import summarise
from ftjax.tasks.metrics import metric_of

GRID = (1e-4, 1e-3, 1e-2)
LEVELS = {'full': 0.90, 'bad': 0.40, 'poor': 0.60, 'close': 0.897, 'none': 0.30}
SETTINGS = AblationSettings(
    arms={arm: 'head' for arm in LEVELS if arm != 'none'} | {'none': {'baseline': 'pixels'}},
    rates=GRID,
    seeds=tuple(range(10)),
)
MANY = AblationSettings(
    arms={f'arm {i}': 'head' for i in range(8)}
    | {short(f'arm {i}', SHARE): 'last:1' for i in range(8)},
    rates=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    seeds=(0, 1, 2),
)


def race_of(budget='1000 runs', settings=SETTINGS, **more):
    return Race(settings=settings, budget=read_budget(budget), margin=0.0, **more)


def score(arm, rate, seed, sd=0.01):
    """Best at 1e-3; the noise is that of the cell, whoever asks."""
    name, share = arm_and_share(arm)
    place = [ord(c) for c in name] + [round(1e7 * (rate or 0)), seed, round(100 * share)]
    noise = np.random.default_rng(place).normal(0, sd, 2)
    lost = 0.0 if rate is None else 0.1 * abs(math.log10(rate) + 3)
    return LEVELS.get(name, 0.8) - lost - 0.2 * (1 - share) + noise


@dataclasses.dataclass(frozen=True)
class Runner:
    """Cells that take no time and say that they took `seconds`."""

    seconds: float = 1.0
    upside_down: bool = False
    """Whether short runs rank rates in reverse."""

    def __call__(self, arm, rate, seed):
        val, test = score(arm, rate, seed)
        if self.upside_down and arm_and_share(arm)[1] < 1:
            val = 1 - val
        return {
            'status': 'ok',
            'val': {'accuracy': float(val)},
            'test': {'accuracy': float(test)},
            'wall_seconds': self.seconds,
            'cell_seconds': self.seconds * arm_and_share(arm)[1],
            'step_flops': 2.0,
            'steps': 3,
        }


def seeds_of(rows, arm):
    return {row['seed'] for row in rows if row['arm'] == arm}


def test_a_clear_arm_stops_early_and_a_close_one_gets_the_seeds():
    race = race_of('65 runs')  # half of the full grid
    rows = play(race, Runner())
    state = race.state(rows)
    verdicts = {arm: (look, one.verdict) for arm, (look, one) in final(state.looks).items()}
    assert verdicts['bad'] == (1, 'worse') and verdicts['none'] == (1, 'worse')
    assert seeds_of(rows, 'bad') == seeds_of(rows, 'none') == {0, 1}
    assert seeds_of(rows, 'close') == set(SETTINGS.seeds) == seeds_of(rows, 'full')
    # Every tuned arm tried the same rates with the first seed; those far behind (by 0.1, where runs
    # differ by 0.01) got few seeds more, and the rate ahead got all.
    for arm in race.tuned:
        rates = [{r['rate'] for r in rows if r['arm'] == arm and r['seed'] == s} for s in range(10)]
        assert rates[0] == set(GRID) and state.rates[arm] == 1e-3
        assert set().union(*rates[3:]) <= {1e-3}
    assert state.ended in ('all 10 seeds were run', 'every verdict is decided')


def test_looks_spend_alpha_and_no_more():
    race = race_of()
    looks = race.state(play(race, Runner())).looks
    total = 0.0
    for look in looks[:-1]:
        total += look.alpha
        assert look.alpha == early(0.05, 0.0) and total == pytest.approx(look.alpha_spent)
    assert looks[-1].last and sum(look.alpha for look in looks) == pytest.approx(0.05)
    assert [look.seeds for look in looks] == [*range(2, 11)]
    assert all(look.comparison.alpha == look.alpha for look in looks)


def test_where_the_budget_ends_the_last_look_spends_all():
    # 13 runs are the first seed; two of the arms stop at the second, and two more go on.
    race = race_of('24 runs')
    state = race.state(play(race, Runner()))
    assert 21 < state.ledger.spent <= 24
    assert state.ended == 'no further round fits the budget'
    looks = state.looks
    assert looks[-1].last and looks[-1].seeds < 10
    assert sum(look.alpha for look in looks) == pytest.approx(0.05)


@pytest.mark.parametrize('amount', [5, 6, 9, 12, 15, 18, 21, 25, 28, 33])
def test_a_budget_is_kept_and_small_ones_try_fewer_rates(amount):
    race = race_of(f'{amount} runs')
    rows = play(race, Runner())
    state = race.state(rows)
    assert len(rows) == state.ledger.spent <= amount and state.ended
    trials = {arm: {r['rate'] for r in rows if r['arm'] == arm} for arm in race.tuned}
    assert len({len(rates) for rates in trials.values()}) == 1
    assert (len(state.looks) > 0) == (amount >= 10)


def test_too_small_a_budget_starts_nothing():
    race = race_of('3 runs')
    assert race.pending([]) == []
    assert race.state([]).ended == 'the budget does not take one run of every arm'


@pytest.mark.parametrize('budget,limit', [('40 s', 40), ('150 flops', 150)])
def test_time_and_flops_are_budgets_too(budget, limit):
    race = race_of(budget, expected=lambda arm: 5.0)
    state = race.state(play(race, Runner(seconds=1.5)))
    assert 0.6 * limit < state.ledger.spent <= limit
    for one, cost in state.ledger.rounds[1:]:
        assert cost == pytest.approx(one.forecast)  # all runs take as long


def test_with_workers_time_is_that_of_the_clock():
    race = race_of('1 h', workers=4)
    rows = play(race, Runner(seconds=2.0))
    assert race.state(rows).ledger.spent < 0.4 * 2.0 * len(rows)


def test_killed_anywhere_it_goes_on_to_the_same_rows(tmp_path):
    race = race_of('60 s', expected=lambda arm: 1.3)
    whole = run_grid(SETTINGS, Runner(), tmp_path / 'a', {}, progress=False, schedule=race)
    calls = []

    def dying(*cell):
        calls.append(cell)
        if len(calls) % 5 == 4:
            raise KeyboardInterrupt
        return Runner()(*cell)

    for _ in range(60):
        try:
            again = race_of('60 s', expected=lambda arm: 1.3)
            rows = run_grid(SETTINGS, dying, tmp_path / 'b', {}, progress=False, schedule=again)
            break
        except KeyboardInterrupt:
            continue
    assert rows == whole and len(calls) - len(calls) // 5 == len(whole)
    assert described(again, again.state(rows)) == described(race, race.state(whole))


def test_rows_that_it_did_not_ask_for_change_nothing():
    race = race_of('60 runs')
    rows = play(race, Runner())
    cells = [
        (arm, rate, seed) for arm in race.tuned for rate in (3e-3, *GRID) for seed in range(10)
    ]
    more = [{'arm': a, 'rate': r, 'seed': s, **Runner(9.0)(a, r, s)} for a, r, s in cells]
    asked = {(row['arm'], row['rate'], row['seed']) for row in rows}
    more = [row for row in more if (row['arm'], row['rate'], row['seed']) not in asked]
    assert described(race, race.state([*more, *rows])) == described(race, race.state(rows))


def test_test_scores_choose_no_rate():
    race = race_of('60 runs')

    def contradicting(arm, rate, seed):
        row = Runner()(arm, rate, seed)
        return {**row, 'test': {'accuracy': row['test']['accuracy'] + 5 * (rate or 0)}}

    assert race.state(play(race, contradicting)).rates['full'] == 1e-3


def test_believed_short_runs_leave_two_rates_of_every_arm():
    race = race_of(settings=MANY)
    rows = play(race, Runner())
    state = race.state(rows)
    told = state.narrowed
    assert told.held and told.pilots == pilots_of(race.tuned, 'arm 0') and len(told.pilots) == 2
    assert all(value > 0.8 for value in told.correlations.values())
    for arm in race.tuned:
        first = [row['rate'] for row in rows if row['arm'] == arm and row['seed'] == 0]
        assert len(first) == (5 if arm in told.pilots else 2)
        assert len(state.full[arm]) == 2 and state.rates[arm] == 1e-3
    kept = race.results(rows)
    assert {row['arm'] for row in kept} == set(race.arms)
    assert all(len(row['tried']) == 5 for row in kept)
    # A short run counts as its share: 8 arms, 5 rates, a quarter.
    assert state.ledger.rounds[0][1] == 10.0
    words = ' '.join(sentences(described(race, state)))
    assert 'best two rates only' in words and '25 % of the steps' in words


def test_short_runs_that_rank_otherwise_are_not_believed():
    race = race_of(settings=MANY)
    rows = play(race, Runner(upside_down=True))
    state = race.state(rows)
    assert not state.narrowed.held
    for arm in race.tuned:
        rates = {row['rate'] for row in rows if row['arm'] == arm and row['seed'] == 0}
        # On an edge of the short runs' curve they go further; then all are run in full.
        assert rates >= set(MANY.rates) and set(state.full[arm]) == rates
        assert state.rates[arm] == 1e-3


def test_rank_correlation_puts_a_diverged_rate_last():
    def curve(*values):
        return [RatePoint(rate=10.0**i, values={0: v}) for i, v in enumerate(values)]

    assert (
        rank_correlation(curve(0.5, 0.7, 0.9), curve(0.2, 0.3, 0.4), metric_of('accuracy')) == 1.0
    )
    diverged = rank_correlation(curve(0.5, 0.9, None), curve(0.2, 0.3, 0.1), metric_of('accuracy'))
    assert diverged == pytest.approx(1.0)
    assert (
        rank_correlation(curve(0.5, 0.5, 0.5), curve(0.1, 0.2, 0.3), metric_of('accuracy')) is None
    )
    assert rank_correlation(curve(0.5, 0.6), curve(0.1, 0.2), metric_of('accuracy')) is None


def test_a_diverged_run_is_missing_and_an_arm_without_any_is_left_out():
    def runs(arm, rate, seed):
        if arm == 'poor' or (arm == 'close' and seed == 1):
            return {'status': 'diverged', 'cell_seconds': 1.0}
        return Runner()(arm, rate, seed)

    race = race_of()
    state = race.state(play(race, runs))
    assert 'poor' not in state.rates
    assert state.looks[0].comparison['close'].seeds == state.looks[0].seeds - 1


def test_a_reference_that_never_finishes_ends_the_race():
    race = race_of()
    failed = {'status': 'diverged', 'cell_seconds': 1.0}
    rows = play(race, lambda arm, *cell: failed if arm == 'full' else Runner()(arm, *cell))
    assert race.state(rows).ended == 'no run of the reference full finished'


def test_a_replay_compares_with_the_full_grid():
    settings = dataclasses.replace(SETTINGS, seeds=(0, 1, 2, 3, 4))
    found = replay(settings, race_of(settings=settings), Runner())
    assert found.verdicts['bad'] == found.verdicts['none'] == ('worse', 'worse')
    assert found.seconds[1] < 0.6 * found.seconds[0] and found.runs[1] < found.runs[0]


def test_it_races_in_processes(tmp_path):
    here, there = (
        run_grid(SETTINGS, Runner(), tmp_path / name, {}, False, engine=engine, schedule=race_of())
        for name, engine in (('here', None), ('there', Processes(2)))
    )
    assert there == [{**row, 'workers': 2} for row in here]


@pytest.mark.slow
def test_it_races_on_a_cluster(tmp_path, monkeypatch):
    pytest.importorskip('ray')
    # Actors do not inherit the path of modules.
    monkeypatch.setenv('PYTHONPATH', os.path.dirname(__file__))
    here, there = (
        run_grid(SETTINGS, Runner(), tmp_path / name, {}, False, engine=engine, schedule=race_of())
        for name, engine in (('here', None), ('there', make_engine('ray', 2)))
    )
    assert there == [{**row, 'workers': 2} for row in here]


def test_what_is_told_is_json_and_names_every_look():
    race = race_of('60 runs')
    told = described(race, race.state(play(race, Runner())))
    assert json.loads(json.dumps(told)) == told
    assert told['verdicts']['bad']['verdict'] == 'worse' and told['verdicts']['bad']['look'] == 1
    assert told['looks'][0]['arms']['bad']['stopped']
    assert seeds_run({'': told}, SETTINGS.draws) == SETTINGS.draws[: told['looks'][-1]['seeds']]
    assert '60 runs' in sentences(told)[0]


def test_what_is_compared_beside_the_looks_is_told():
    race = race_of('60 runs')
    rows = play(race, Runner())
    given = {'reference': 'full', 'races': {'': described(race, race.state(rows))}}
    plain = race.results(rows)
    shifted = [{**row, 'shifts': {'noise': row['test']}} for row in plain]
    told = 'verdicts of further test sets do not allow for that'
    for made, expected in ((plain, False), (shifted, True)):
        assert any(told in one for one in summarise(made, **given)['caveats']) == expected


def test_middle_rates():
    assert middle([1.0, 2.0, 3.0], 1) == [2.0] and middle([1.0, 2.0, 3.0], 2) == [1.0, 2.0]


def test_a_budget_of_time_says_how_much_of_it_is_left():
    race = race_of('60 s')
    rows = play(race, Runner())
    assert race.seconds_left([]) == 60.0
    left = race.seconds_left(rows)
    assert left == pytest.approx(60 - race.state(rows).ledger.spent) and 0 <= left < 60
    assert race_of('60 runs').seconds_left([]) is None
