"""Rows that a folder holds are summarised without a run."""

import json

import pytest

from ftjax.ablation.cells.task_grids import stored_rows
from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError

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
    tasks = {'one': {'data.seed': 1}, 'two': {'data.seed': 2}}
    settings = AblationSettings(arms=ARMS, rates=(0.1,), seeds=(0, 1), tasks=tasks)
    write(tmp_path, settings, tasks)
    rows, _, _ = stored_rows({}, settings, tmp_path)
    assert {row['task'] for row in rows} == {*tasks}


def test_a_folder_without_rows_is_refused(tmp_path):
    settings = AblationSettings(arms=ARMS, rates=(0.1,))
    with pytest.raises(UserError, match='holds no rows'):
        stored_rows({}, settings, tmp_path)
    assert not any(tmp_path.iterdir())
