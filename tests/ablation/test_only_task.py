"""Processes that each run one task of an ablation leave the rows of one process that runs all."""

import pathlib
import subprocess
import sys

import pytest

from ftjax.ablation.cells.baselines import Pixels
from ftjax.ablation.cells.task_grids import run_grids
from ftjax.ablation.cells.tasks import place_of, tasks_to_run
from ftjax.ablation.engines.engine import InProcess
from ftjax.ablation.grid.rows import RESULTS, read_rows
from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError
from ftjax.io.files.lock import run_lock

ROOT = pathlib.Path(__file__).resolve().parents[2]
TASKS = {'5 a class': {'data.examples_per_class': 5}, 'ten': {'data.examples_per_class': 10}}
VALUES = {
    'init': 'glyphs',
    'data': {'source': 'digits:scattered', 'examples_per_class': 2, 'val_per_class': 2},
}
SETTINGS = AblationSettings(arms={'pixels': {'baseline': 'pixels'}}, seeds=(0,), tasks=TASKS)


def run(folder, **more):
    return run_grids(VALUES, SETTINGS, folder, InProcess(), **more)


def results(rows):
    return [{key: row.get(key) for key in ('task', 'arm', 'seed', *RESULTS)} for row in rows]


def test_a_task_by_itself_leaves_the_rows_of_all_together(tmp_path, monkeypatch):
    def row(self, data, prepared, settings):
        score = {'accuracy': len(data.train) / 1000}
        return {'status': 'ok', 'val': score, 'test': score}

    monkeypatch.setattr(Pixels, 'row', row)
    whole = run(tmp_path / 'whole')
    alone = [run(tmp_path / 'parts', only=task)[0] for task in reversed(TASKS)]
    assert not (tmp_path / 'parts' / 'runs.jsonl').exists()
    assert results(alone[1] + alone[0]) == results(whole[0])
    # The last call finds all rows, runs nothing and puts them together.
    kept = (tmp_path / 'parts' / 'ten' / 'runs.jsonl').read_bytes()
    together = run(tmp_path / 'parts')
    assert results(together[0]) == results(whole[0]) and together[1:] == whole[1:]
    assert (tmp_path / 'parts' / 'ten' / 'runs.jsonl').read_bytes() == kept
    assert results(read_rows(tmp_path / 'parts' / 'runs.jsonl')) == results(whole[0])


def test_a_task_that_is_none_or_depends_on_others_is_refused():
    with pytest.raises(UserError, match="unknown task of --only_task 'tne'; did you mean 'ten'"):
        tasks_to_run(SETTINGS, 'tne')
    assert tasks_to_run(SETTINGS, 'ten') == {'ten': TASKS['ten']}
    arms = {'full': 'full', 'head': 'head'}
    given = {'arms': arms, 'rates': (0.1,), 'seeds': (0, 1)}
    with pytest.raises(UserError, match=r"--only_task is 'ten', and config.ablation.tasks names"):
        tasks_to_run(AblationSettings(**given), 'ten')
    raced = AblationSettings(**given, tasks=TASKS, budget='60 runs')
    with pytest.raises(UserError, match=r'--only_task does not go with config.ablation.budget'):
        tasks_to_run(raced, 'ten')


CONFIG = f"""
from ml_collections import ConfigDict

from ftjax.config import template


def get_config():
    ablation = {{'arms': {dict(SETTINGS.arms)}, 'seeds': (0,), 'tasks': {TASKS}}}
    config = template(**{VALUES})
    config.ablation = ConfigDict(ablation, convert_dict=False)
    return config
"""


@pytest.mark.slow
def test_jobs_of_an_array_share_one_results_folder(tmp_path):
    file, folder = tmp_path / 'config.py', tmp_path / 'results'
    file.write_text(CONFIG)

    def start(task):
        return subprocess.Popen(
            [
                *(sys.executable, ROOT / 'scripts/ablate.py', f'--config={file}'),
                *(f'--workdir={folder}', f'--only_task={task}'),
            ],
            env={'PYTHONPATH': str(ROOT), 'PATH': '', 'HOME': str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    jobs = [start(task) for task in TASKS]
    with run_lock(folder / 'third'):  # another process in the folder keeps nobody away
        said = [job.communicate(timeout=600)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    for task, words in zip(TASKS, said, strict=True):
        assert f'{task} is finished; a call without --only_task makes the report' in words
    # A second job of a task whose first one runs is refused.
    with run_lock(folder / 'ten'):
        late = start('ten')
        words = late.communicate(timeout=600)[0]
    assert late.returncode == 2 and 'is in use by process' in words
    run(tmp_path / 'whole')
    for task in TASKS:
        rows = [
            read_rows(place / place_of(task) / 'runs.jsonl')
            for place in (folder, tmp_path / 'whole')
        ]
        assert results(rows[0]) == results(rows[1]) and rows[0]
