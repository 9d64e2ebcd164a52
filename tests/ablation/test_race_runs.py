"""A race of real runs in this process, and what a summary makes of it."""

import dataclasses
import json

import pytest

from ftjax.ablation.budgets.budget import read_budget
from ftjax.ablation.cells.task_grids import check_any, reduced, run_grids, runner_of, stored_rows
from ftjax.ablation.cells.task_race import START, budget_of_task, race_of
from ftjax.ablation.engines.engine import InProcess
from ftjax.ablation.racing.account import comparison_told, seeds_run
from ftjax.ablation.report.html import report_html
from ftjax.ablation.settings import AblationSettings
from ftjax.ablation.summary.summary import summarise
from ftjax.config import plain, template
from ftjax.errors import UserError

VALUES = plain(
    template(
        init='glyphs',
        data={
            'source': 'digits:scattered',
            'examples_per_class': 2,
            'val_per_class': 2,
            'batch_size': 10,
        },
        train={'epochs': 1.0},
    )
)
SETTINGS = AblationSettings(
    arms={'head': 'head', 'pixels': {'baseline': 'pixels'}},
    rates=(1e-2, 1e-1),
    seeds=(0, 1, 2, 3),
    max_extra=0,
    budget='11 runs',
)


def test_it_runs_within_its_budget_and_its_verdicts_are_those_of_the_report(tmp_path, capsys):
    rows, notes, races = run_grids(VALUES, SETTINGS, tmp_path, InProcess())
    runs = [one['runs'] for one in races['']['rounds']]
    assert runs[:2] == [2, 1]  # a rate and the baseline; the other rate; then seeds of both
    assert races['']['spent'] == sum(runs) <= 11 and (tmp_path / 'race_start.json').exists()
    assert all(row['steps'] == 2 for row in rows if row['arm'] == 'head')
    summary = summarise(
        rows,
        reference='head',
        seeds=seeds_run(races, SETTINGS.draws),
        outside_prior=SETTINGS.outside_prior,
        races=races,
    )
    (found,) = [arm for arm in summary['tasks'][0]['arms'] if arm['arm'] == 'pixels']
    one, look = comparison_told(races[''], 'pixels')
    assert found['difference']['verdict'] == one.verdict
    assert found['difference']['interval']['low'] == pytest.approx(one.low)
    assert found['difference']['interval']['confidence'] == pytest.approx(1 - look.alpha)
    assert '<h2>Race</h2>' in report_html(summary, 'race') and '11 runs' in notes[0]
    # Made again from the rows, and gone on with: the same.
    assert stored_rows(VALUES, SETTINGS, tmp_path) == (rows, notes, races)
    assert run_grids(VALUES, SETTINGS, tmp_path, InProcess()) == (rows, notes, races)


def test_a_budget_in_another_unit_has_estimates_of_its_own(tmp_path):
    start = tmp_path / START
    start.write_text(json.dumps({'workers': 3, 'seconds': {'head': 2.5}}))
    runner = runner_of(VALUES, SETTINGS, {})
    race = race_of(SETTINGS, read_budget('9 runs'), tmp_path, runner=runner)
    assert race.workers == 3 and race.expected('head') == 1.0
    kept = json.loads(start.read_text())
    assert kept['seconds'] == {'head': 2.5} and kept['runs'] == {'head': 1.0, 'pixels': 1.0}
    assert race_of(SETTINGS, read_budget('9 s'), tmp_path).expected('head') == 2.5


def test_too_small_a_budget_is_said_before_the_first_run(tmp_path):
    small = dataclasses.replace(SETTINGS, budget='1 run')
    with pytest.raises(UserError, match="budget '1 run': the budget does not take one run of ev"):
        run_grids(VALUES, small, tmp_path, InProcess())
    assert not (tmp_path / 'runs.jsonl').read_text()


def test_a_race_that_does_not_start_is_a_note(tmp_path):
    race = race_of(SETTINGS, read_budget('1 run'), tmp_path)
    races, spent = {}, {}
    rows, notes = reduced([], SETTINGS, race, 'large', races, spent)
    assert (rows, races, spent) == ([], {}, {'large': 0.0})
    assert 'does not take one run of every arm' in notes[0]
    check_any([{'task': 'small'}], notes)
    with pytest.raises(UserError, match='does not take one run of every arm'):
        check_any([], notes)
    begun = race_of(SETTINGS, read_budget('11 runs'), tmp_path)
    with pytest.raises(UserError, match=r"^large: the race within '11 runs' has 2 runs"):
        reduced([], SETTINGS, begun, 'large', races, spent)


def test_what_a_race_without_rows_cost_is_not_there_for_the_next_task():
    settings = dataclasses.replace(
        SETTINGS, budget='12 runs', tasks={'a': {'data.seed': 1}, 'b': {'data.seed': 2}}
    )
    assert budget_of_task(settings, {}, 0).amount == 6
    assert budget_of_task(settings, {'a': 4.0}, 1).amount == 8


@pytest.mark.slow
def test_a_task_that_its_budget_does_not_start_costs_no_other_its_report(tmp_path):
    tasks = {'small': {'data.seed': 1}, 'large': {'train.epochs': 900.0}}
    settings = dataclasses.replace(SETTINGS, tasks=tasks, seeds=(0, 1))
    length = runner_of(VALUES, settings, {}).length('head')
    amount = 2 * 8 * length.steps * length.flops  # eight small runs for each of the tasks
    settings = dataclasses.replace(settings, budget=f'{amount:.6g} FLOPs')
    found = run_grids(VALUES, settings, tmp_path, InProcess())
    rows, notes, races = found
    assert {row['task'] for row in rows} == {'small'} and set(races) == {'small'}
    assert 'the budget does not take one run' in notes[-1] and notes[-1].startswith('large: ')
    assert stored_rows(VALUES, settings, tmp_path) == found
    summary = summarise(
        rows,
        reference='head',
        seeds=seeds_run(races, settings.draws),
        outside_prior=settings.outside_prior,
        races=races,
    )
    assert [task['task'] for task in summary['tasks']] == ['small']
