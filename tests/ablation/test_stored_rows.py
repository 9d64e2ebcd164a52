"""Rows that a folder holds are summarised without a run."""

import dataclasses
import json

import pytest

from ftjax.ablation.cells.task_grids import reduced, scheduled, stored_rows
from ftjax.ablation.grid.equal_compute import UNTOLD, Length, at_equal_compute, keep_note
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.settings import AblationSettings
from ftjax.config import merged
from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable

ARMS = {'full': 'full', 'head': 'head'}


def write(folder, settings, tasks=(None,)):
    rows = [
        {'arm': arm, 'rate': rate, 'seed': seed, 'status': 'ok', 'val': value, 'test': value}
        | ({'task': task} if task else {})
        for task in tasks
        for arm in (*ARMS, 'left out')
        for rate in settings.rates
        for seed in settings.seeds
        for value in [{'accuracy': 0.5 + rate}]
    ]
    (folder / 'runs.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))


def test_rows_of_the_grid_count_and_no_others(tmp_path):
    settings = AblationSettings(arms=ARMS, rates=(0.1, 0.2), seeds=(0, 1), max_extra=0)
    write(tmp_path, settings)
    rows, notes, _ = stored_rows({}, settings, tmp_path)
    assert len(rows) == 8 and {row['arm'] for row in rows} == {*ARMS} and notes == []


def test_rows_of_several_tasks_are_those_that_were_chosen(tmp_path):
    settings = AblationSettings(arms=ARMS, rates=(0.1,), seeds=(0, 1), tasks=TASKS)
    write(tmp_path, settings, (*TASKS, 'left out'))
    rows, _, _ = stored_rows({}, settings, tmp_path)
    assert {row['task'] for row in rows} == {*TASKS}


TASKS = {'one': {'data.seed': 1}, 'two': {'data.seed': 2}}


def run_tasks(folder, settings, values):
    """The folders that runs of all tasks leave; the rows and notes that they give."""
    kept, notes = [], []
    for task, changes in settings.tasks.items():
        of_task, place = merged(values, changes), folder / task
        own, note = at_equal_compute(settings, lambda arm: Length(30, 1e9, 2.0))
        grid, schedule = scheduled(own, of_task)
        rows = run_grid(grid, execute, place, {'config': of_task}, False, schedule=schedule)
        keep_note(place, note)
        of_arms, more = reduced(rows, settings, schedule, task, {}, {})
        kept += [{'task': task, **to_jsonable(row)} for row in of_arms]
        notes += [f'{task}: {told}' for told in (note, *more)]
    (folder / 'runs.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in kept))
    return kept, notes, {}


def execute(arm, rate, seed):
    value = {'accuracy': 0.5 + rate + 0.1 * ('0.2' in arm)}
    return {'status': 'ok', 'val': value, 'test': value}


def test_folders_of_tasks_give_what_their_runs_gave(tmp_path):
    given = {'arms': ARMS, 'rates': (0.1, 0.2), 'seeds': (0, 1), 'max_extra': 0, 'tasks': TASKS}
    tuned = {'tune': {'optimizer.weight_decay': (0.1, 0.2)}, 'equal': 'compute'}
    settings, values = AblationSettings(**given, **tuned), {'data': {'seed': 0}}
    made = run_tasks(tmp_path, settings, values)
    assert len(made[0]) == 2 * 2 * 2 * 2 and len(made[1]) == 4
    assert stored_rows(values, settings, tmp_path) == made
    fewer = dataclasses.replace(settings, rates=(0.1,), tasks={'two': TASKS['two']})
    rows, notes, _ = stored_rows(values, fewer, tmp_path)
    assert {(row['task'], row['rate']) for row in rows} == {('two', 0.1)}
    assert notes[0].startswith('two: Arms train for equal compute') and len(notes) == 2
    with pytest.raises(
        UserError, match=r'another config: config\.data\.seed is 1 there and 3 here'
    ):
        moved = dataclasses.replace(settings, tasks={'one': {'data.seed': 3}})
        stored_rows(values, moved, tmp_path)
    # Kept by a version that kept no note.
    (tmp_path / 'two' / 'equal_compute.json').unlink()
    assert stored_rows(values, fewer, tmp_path)[1][0] == f'two: {UNTOLD}'


def test_the_wrong_config_is_refused_for_one_task_too(tmp_path):
    settings = AblationSettings(arms=ARMS, rates=(0.1, 0.2), seeds=(0, 1), max_extra=0)
    rows = run_grid(settings, execute, tmp_path, {'config': {'seed': 0}}, False)
    assert stored_rows({'seed': 0}, settings, tmp_path)[0] == rows
    with pytest.raises(UserError, match=r'another config: config\.seed'):
        stored_rows({'seed': 1}, settings, tmp_path)
    with pytest.raises(UserError, match='an ablation without tasks'):
        stored_rows({'seed': 0}, dataclasses.replace(settings, tasks=TASKS), tmp_path)


def test_a_folder_without_rows_is_refused(tmp_path):
    settings = AblationSettings(arms=ARMS, rates=(0.1,))
    with pytest.raises(UserError, match='holds no rows'):
        stored_rows({}, settings, tmp_path)
    assert not any(tmp_path.iterdir())
