"""Trials that a sampler draws: equally many, the same after an interruption, every one a row."""

import math
import statistics
import sys

import pytest

from ftjax.ablation.cells.task_grids import scheduled
from ftjax.ablation.grid.drawn_trials import Trials
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.grid.short_runs import arm_and_share, short, with_short_runs
from ftjax.ablation.grid.variants import chosen
from ftjax.ablation.rates.trials import Trial, halved, next_of
from ftjax.ablation.settings import AblationSettings, read_ablation
from ftjax.ablation.summary.summary import summarise
from ftjax.config import plain, template
from ftjax.errors import UserError

GIVEN = {
    'arms': {
        'full': 'full',
        'head': {'freeze': 'head', 'rates': (1e-2, 1.0)},
        'none': {'baseline': 'pixels'},
    },
    'rates': (1e-4, 1e-2),
    'seeds': (0, 1),
    'tune': {'optimizer.weight_decay': (0.0, 0.1, 0.2)},
    'trials': 8,
}
PEAK = {'full': 1e-3, 'head': 0.1}


def settings_of(search, **more):
    return AblationSettings(**{**GIVEN, 'search': search, **more})


def execute(arm, rate, seed):
    """Best at PEAK with the largest decay; test scores contradict validation."""
    name, share = arm_and_share(arm)
    value = 0.5
    if rate is not None:
        value = 0.9 - 0.1 * abs(math.log10(rate / PEAK[name.split()[0]])) - 0.1 * (1 - share)
        value += 0.1 * ('0.2' in name) + 0.01 * seed
    return {
        'status': 'ok',
        'val': {'accuracy': value},
        'test': {'accuracy': 1 - value},
        'wall_seconds': 1.0,
        'cell_seconds': 1.0,
    }


def run(settings, folder, cell=execute):
    grid, schedule = scheduled(settings, plain(template()))
    return run_grid(grid, cell, folder, {}, progress=False, schedule=schedule)


@pytest.mark.parametrize('search', ['random', 'tpe', 'halving'])
def test_every_arm_gets_equally_many_trials_and_resumes_exactly(tmp_path, search):
    pytest.importorskip('optuna')
    settings = settings_of(search)
    whole = run(settings, tmp_path / 'whole')
    assert len(whole) == Trials(settings).planned
    for arm, low, high in (('full', 1e-4, 1e-2), ('head', 1e-2, 1.0)):
        of_arm = [row for row in whole if row['arm'].startswith(arm)]
        assert len({(row['arm'], row['rate']) for row in of_arm}) == 8 + 6 * (search == 'halving')
        assert all(low <= row['rate'] <= high for row in of_arm)
    calls = []

    def dying(*cell):
        calls.append(cell)
        if len(calls) % 4 == 3:
            raise KeyboardInterrupt
        return execute(*cell)

    for _ in range(99):
        try:
            assert run(settings, tmp_path / 'parts', dying) == whole
            break
        except KeyboardInterrupt:
            continue
    else:
        pytest.fail('it never ended')
    assert len(calls) - len(calls) // 4 == len(whole)


def test_the_best_trial_stands_for_its_arm_by_validation_alone(tmp_path):
    pytest.importorskip('optuna')
    settings = settings_of('random')
    rows = run(settings, tmp_path)
    kept, notes = chosen(rows, settings)
    best = {}
    for row in rows:
        arm = row['arm'].split()[0]
        best[arm] = max(best.get(arm, (0, None)), (row['val']['accuracy'], row['rate']))
    summary = summarise(kept, reference='full', arms=list(settings.arms), seeds=settings.draws)
    for arm in summary['tasks'][0]['arms']:
        if arm['rate'] is not None:
            assert arm['rate'] == best[arm['arm']][1] and arm['n_trials'] == 8
    assert notes[0].startswith("8 trials of every arm were drawn by search 'random', optimizer.")
    assert not any('unequal' in caveat for caveat in summary['caveats'])


def test_tpe_comes_nearer_to_the_best_than_random_trials():
    pytest.importorskip('optuna')
    given = {'rates': (1e-5, 1.0), 'tune': {}, 'trials': 24}

    def score(trial):
        return -abs(math.log10(trial.rate) + 3)

    median = {}
    for search in ('tpe', 'random'):
        done, wanted = next_of(search, score, **given)
        assert not wanted and len(done) == 24
        median[search] = statistics.median(-score(trial) for trial in done[8:])
    assert median['tpe'] < 0.6 * median['random']


def test_halving_keeps_the_better_half_and_a_diverged_trial_goes_first():
    drawn = [Trial(rate) for rate in (1e-4, 1e-3, 1e-2, 1e-1)]
    scores = {1e-4: 0.3, 1e-3: 0.9, 1e-2: 0.8, 1e-1: math.nan}
    done, wanted = halved(drawn, lambda trial: scores[trial.rate])
    assert not wanted
    assert [(trial.rate, trial.share) for trial in done[4:]] == [
        (1e-3, 0.5),
        (1e-2, 0.5),
        (1e-3, 1.0),
    ]
    done, wanted = halved(drawn, lambda trial: scores[trial.rate] if trial.share < 0.5 else None)
    assert len(done) == 4  # the first rung
    assert [trial.share for trial in wanted] == [0.5, 0.5]


def test_short_runs_have_a_share_of_the_steps_and_as_many_validations():
    settings = AblationSettings(
        arms={'head': 'head', 'long': {'freeze': 'full', 'train.steps': 90}}, rates=(1e-3,)
    )
    values = plain(template(train={'epochs': 8.0, 'eval_every': 2.0}))
    grid = with_short_runs(settings, values, (0.25, 1.0))
    assert list(grid.arms) == ['head', 'long', short('head', 0.25), short('long', 0.25)]
    assert grid.changes(short('head', 0.25)) == {
        'freeze': 'head',
        'train.epochs': 2.0,
        'train.eval_every': 0.5,
    }
    assert grid.changes(short('long', 0.25))['train.steps'] == 22


def test_mistakes_are_named_before_the_first_run(monkeypatch):
    with pytest.raises(UserError, match="did you mean 'random'"):
        settings_of('randm')
    with pytest.raises(UserError, match="between two rates at least; arm 'full' has 1"):
        read_ablation({'arms': {'full': 'full'}, 'rates': (1e-3,), 'search': 'random'})
    monkeypatch.setitem(sys.modules, 'optuna', None)
    with pytest.raises(UserError, match=r"pip install 'ftjax\[search\]'"):
        Trials(settings_of('random')).pending([])


@pytest.mark.parametrize(
    ('task', 'metric'),
    [('classification', 'accuracy'), ('regression', 'mse'), ('causal_lm', 'nll'), ('', 'accuracy')],
)
def test_the_metric_is_the_tasks_own_unless_it_is_named(task, metric):
    section = {'arms': {'full': 'full'}, 'rates': (1e-3,)}
    assert read_ablation(section, task).metric == metric
    assert read_ablation({**section, 'metric': 'loss'}, task).metric == 'loss'
