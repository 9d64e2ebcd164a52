"""Arms at equal compute: their steps follow from their FLOPs; tasks are grids of their own."""

import json
import math

import pytest

from ftjax.ablation.cells.run_cell import CellRunner
from ftjax.ablation.cells.task_grids import check_grids, run_grids, scheduled, stored_rows
from ftjax.ablation.cells.task_race import budget_of_task, race_of
from ftjax.ablation.engines.engine import InProcess
from ftjax.ablation.grid.equal_compute import Length, at_equal_compute
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.settings import AblationSettings, read_ablation
from ftjax.config import plain, template
from ftjax.errors import UserError

ARMS = {'full': 'full', 'head': {'freeze': 'head', 'rates': (1e-2,)}, 'none': {'baseline': 'x'}}
SETTINGS = AblationSettings(arms=ARMS, rates=(1e-3,), reference='full')
LENGTHS = {'full': Length(30, 6e9, 2.0), 'head': Length(30, 2e9, 2.0)}


def test_a_third_of_the_flops_is_three_times_the_steps_and_as_many_validations():
    made, note = at_equal_compute(SETTINGS, LENGTHS.__getitem__)
    assert made.arms['full'] == {'freeze': 'full', 'train.steps': 30, 'train.eval_every': 2.0}
    assert made.arms['head']['train.steps'] == 90 and made.arms['head']['train.eval_every'] == 6.0
    assert made.arms['none'] == ARMS['none'] and made.grids == SETTINGS.grids
    assert '1.8e+11 FLOPs of 30 steps of full' in note and 'full 30, head 90' in note


def test_without_flops_or_a_reference_that_trains_it_is_refused():
    with pytest.raises(UserError, match="no FLOPs are known of 'head'"):
        unknown = {**LENGTHS, 'head': Length(30, math.nan, 1.0)}
        at_equal_compute(SETTINGS, unknown.__getitem__)
    alone = AblationSettings(arms=ARMS, rates=(1e-3,), reference='none')
    with pytest.raises(UserError, match="'none' does not train"):
        at_equal_compute(alone, LENGTHS.__getitem__)


SMALL = {'name': 'vit', 'image_size': 8, 'patch_size': 2, 'channels': 1}
VALUES = plain(
    template(
        init='',
        model={**SMALL, 'width': 32, 'depth': 2, 'heads': 2},
        data={'source': 'digits', 'examples_per_class': 3, 'val_per_class': 3, 'batch_size': 10},
        train={'epochs': 1.0},
    )
)
SECTION = {
    'arms': {'full': 'full', 'head': 'head', 'pixels': {'baseline': 'pixels'}},
    'rates': (1e-3,),
    'seeds': (0, 1),
    'reference': 'full',
    'equal': 'compute',
    'tasks': {
        '3 a class': {'data.examples_per_class': 3},
        'noise': {'data.corruption': 'contrast:0.5'},
    },
    'tune': {'optimizer.weight_decay': (0.0, 0.1)},
}


def test_flops_are_those_of_the_step_a_run_would_have():
    runner = CellRunner(VALUES, read_ablation(SECTION))
    full, head = runner.length('full'), runner.length('head')
    assert full.steps == head.steps == 3 and full.eval_every == 1.0
    # Products of matrices: once forward and twice backward, against once. What the compiler
    # counts besides (activations, the optimizer) differs a little from version to version.
    assert full.flops / head.flops == pytest.approx(3, rel=0.15)


def made_up(arm, rate, seed):
    score = 0.5 if rate is None else 0.9 - 0.1 * abs(math.log10(rate / 2e-3)) + 0.01 * seed
    fields = {'val': {'accuracy': score}, 'test': {'accuracy': score}}
    return {'status': 'ok', **fields, 'wall_seconds': 1.0, 'cell_seconds': 1.0}


@pytest.mark.parametrize(
    ('more', 'rates'),
    [
        ({'search': 'halving', 'trials': 4}, (1e-4, 1e-2)),
        ({'budget': '900 runs', 'max_extra': 0}, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
    ],
)
def test_a_folder_with_short_runs_is_summarised_by_its_own_config(tmp_path, more, rates):
    if 'search' in more:
        pytest.importorskip('optuna')
    arms = {name: name for name in ('full', 'head', 'last:1', 'norm', 'bitfit', 'first:1')}
    section = {'arms': arms, 'rates': rates, 'seeds': (0, 1), 'equal': 'compute', **more}
    settings = read_ablation({**section, 'reference': 'full'})
    lengths = {arm: Length(30, 6e9 - place, 2.0) for place, arm in enumerate(arms)}
    grid, schedule = scheduled(at_equal_compute(settings, lengths.__getitem__)[0], VALUES)
    assert [arm for arm in grid.arms if '% of its steps' in arm]
    if settings.budget:
        schedule = race_of(grid, budget_of_task(settings, {}, 0), tmp_path)
    options = {'progress': False, 'schedule': schedule}
    run_grid(grid, made_up, tmp_path, {'config': VALUES}, **options)
    rows, _, _ = stored_rows(VALUES, settings, tmp_path)
    assert {row['arm'] for row in rows} == {*arms}
    other = {**VALUES, 'train': {**VALUES['train'], 'epochs': 2.0}}
    with pytest.raises(UserError, match=r'train\.epochs is 1'):
        stored_rows(other, settings, tmp_path)


def test_a_mistake_in_a_task_is_found_before_any_run():
    for tasks, words in (
        ({'a': {'data.exampels_per_class': 3}}, 'examples_per_class'),
        ({'a b': {'seed': 1}, 'a_b': {'seed': 2}}, 'share a folder'),
    ):
        with pytest.raises(UserError, match=words):
            check_grids(VALUES, read_ablation({**SECTION, 'tasks': tasks}))


@pytest.mark.slow
def test_tasks_are_grids_of_their_own_and_a_second_call_runs_nothing(tmp_path, capsys):
    settings = read_ablation(SECTION)
    check_grids(VALUES, settings)
    rows, notes, _ = run_grids(VALUES, settings, tmp_path, InProcess())
    assert {row['task'] for row in rows} == {'3 a class', 'noise'}
    assert len(rows) == 2 * (2 + 2) + 2 * 2 and all(row['status'] == 'ok' for row in rows)
    assert len(notes) == 4 and notes[0].startswith('3 a class: Arms train for equal compute')
    written = [json.loads(line) for line in (tmp_path / 'runs.jsonl').read_text().splitlines()]
    assert written == rows
    config = json.loads((tmp_path / 'noise' / 'ablation.json').read_text())['config']
    steps = {arm: given.get('train.steps') for arm, given in config['arms'].items()}
    assert steps['head (weight_decay 0.1)'] > 2 * steps['full (weight_decay 0.1)']
    capsys.readouterr()
    again, same, _ = run_grids(VALUES, settings, tmp_path, InProcess())
    assert (again, same) == (rows, notes)
    assert 'to run now' not in capsys.readouterr().out
    assert stored_rows(VALUES, settings, tmp_path) == (rows, notes, {})
