"""Ablations of a decoder: each cell is a run of its own, on every engine the same one."""

import dataclasses
import json

import jax
import pytest
from lm_mesh import spec
from tiny_decoder import decoder, drawn_texts, initial, preprocessing_of

from ftjax.ablation.cells import CellRunner
from ftjax.ablation.engines.factory import make_engine
from ftjax.ablation.grid.run_grid import run_grid
from ftjax.ablation.settings import AblationSettings
from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.pretrained.own_format import save_own
from ftjax.tasks import tasks
from ftjax.training.sweeps.vmapped_fit import fit_many, obstacle

CLOCKS = {'cell_seconds', 'wall_seconds', 'step_seconds_median'}


@pytest.fixture
def values(tmp_path):
    """A config that trains a decoder in a folder on packed completions."""
    net = decoder(depth=1)
    preprocessing = preprocessing_of(net, tmp_path, max_length=16, buckets=(16,))
    save_own(tmp_path / 'base', net, initial(net, scale=2), preprocessing)
    pairs = zip(drawn_texts(60, longest=6), drawn_texts(60, 1, longest=6), strict=True)
    rows = [json.dumps({'prompt': one, 'completion': other}) for one, other in pairs]
    (tmp_path / 'pairs.jsonl').write_text('\n'.join(rows))
    return {
        'init': str(tmp_path / 'base'),
        'data': {
            'source': f'jsonl:{tmp_path}/pairs.jsonl',
            'task': 'causal_lm',
            'packing': True,
            'batch_size': 8,
            'eval_batch_size': 8,
            'max_length': 16,
        },
        'optimizer': {'name': 'sgd'},
        'train': {'steps': 4, 'eval_every': 0.5, 'report': False},
    }


def runner_of(values, arms=('head', 'lora:2')):
    settings = AblationSettings(
        arms={arm: arm for arm in arms}, rates=(1e-3, 1e-2), seeds=(0,), max_extra=0
    )
    return CellRunner(values, settings)


@pytest.mark.slow
def test_every_engine_gives_the_rows_of_separate_runs(values, tmp_path):
    runner = runner_of(values)
    options = {'progress': False, 'together': runner.together, 'group': runner.group}
    found = {}
    for name, workers in (('in_process', 1), ('processes', 2)):
        engine = make_engine(name, workers)
        rows = run_grid(runner.settings, runner, tmp_path / name, {}, engine=engine, **options)
        found[name] = [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]
    assert found['in_process'] == found['processes'] and len(found['processes']) == 4
    for row in found['in_process']:
        assert row['status'] == 'ok' and row['frozen_unchanged'] and 'vectorised' not in row
        alone = CellRunner(values, runner.settings)(row['arm'], row['rate'], row['seed'])
        for name in ('val', 'test', 'steps', 'params_trainable'):
            assert alone[name] == row[name], name
    one, other = (row['val'] for row in found['in_process'] if row['arm'] == 'head')
    assert one != other


def test_packed_texts_never_share_a_program(values, tmp_path):
    runner = runner_of(values, ('head',))
    reason = runner.survey('head').alone
    assert 'a validation of causal_lm takes more than a count' in reason
    assert runner.group('head') == ''  # so the grid runs the cells one by one
    run = spec({'packed': True, 'freeze': 'head'}, tmp_path)
    with pytest.raises(UserError, match='cannot share a program: a validation of causal_lm'):
        fit_many(run, {0: run.variables}, (1e-3, 1e-2))


@pytest.mark.parametrize('task', sorted(tasks()))
def test_only_tasks_that_count_right_answers_share_a_program(task, tmp_path):
    run = dataclasses.replace(spec({'freeze': 'head'}, tmp_path), data=None, task_without_data=task)
    shapes = jax.eval_shape(lambda tree: tree, run.variables)
    reason = obstacle(dataclasses.replace(run, variables=shapes))
    assert (reason is None) == (task == 'classification'), reason
    assert task == 'classification' or f'validation of {task}' in reason


@pytest.mark.parametrize('task', ['classification', 'token_classification', 'embedding'])
def test_packing_is_for_language_models_alone(values, task):
    values['data']['task'] = task
    with pytest.raises(UserError, match=rf'packing needs texts of a decoder; data.task is {task}'):
        read_config(values)
