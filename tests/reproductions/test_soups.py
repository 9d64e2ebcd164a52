"""Soups as arms of an ablation: their options, their rows, their verdicts, from end to end."""

import dataclasses
import json
import os
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from ftjax.ablation.cells import CellRunner, baselines
from ftjax.ablation.grid.run_grid import jobs_of, run_grid
from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError
from ftjax.reproductions import soups

SMALL = {'name': 'resnet_bn_cifar', 'depth': 8, 'width': 4, 'image_size': 8}
FEW = {'source': 'digits', 'examples_per_class': 2, 'val_per_class': 2, 'batch_size': 20}
SHIFTS = {'noise': {'corruption': 'gaussian_noise:0.2'}}
OPTIONS = {'start': {'freeze': 'head'}, 'rates': (1e-3, 1e-2)}


def runner_of(also=SHIFTS, freeze='full', metric='accuracy', **options):
    arms = soups.soup_arms(**{**OPTIONS, **options})
    settings = AblationSettings(arms=arms, seeds=(0, 1), also_evaluate=also, metric=metric)
    freeze = {'strategy': freeze, 'norm': 'frozen'} if isinstance(freeze, str) else freeze
    values = {'init': '', 'model': SMALL, 'data': FEW, 'freeze': freeze, 'train': {'steps': 2}}
    return CellRunner(values, settings)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'rate': 1}, "did you mean 'rates'"),
        ({'rates': (1e-3,), 'orders': 1}, 'at least 2 members'),
        ({'rates': (-1.0, 1e-3)}, 'above 0'),
        ({'take': 'unifrom'}, "did you mean 'uniform'"),
    ],
)
def test_an_option_that_cannot_be_meant_is_named(change, words):
    arm = {'baseline': {'name': 'soups', 'take': 'uniform', **OPTIONS, **change}}
    settings = AblationSettings(arms={'u': arm})
    with pytest.raises(UserError, match=words):
        baselines.baseline_of(settings, 'u')
    with pytest.raises(UserError, match="baseline 'soups'"):
        baselines.baseline_of(AblationSettings(arms={'u': {'baseline': {'name': 'soups'}}}), 'u')


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'freeze': {'strategy': 'full', 'norm': 'train'}}, "moves running.*'norm': 'frozen'"),
        ({'also': {}}, 'also_evaluate'),
        ({'metric': 'log_loss'}, 'the highest is best'),
    ],
)
def test_what_cannot_be_averaged_or_judged_is_refused_before_any_run(given, words):
    with pytest.raises(UserError, match=words):
        runner_of(**given).check()


def test_the_arms_of_a_seed_are_one_job_and_take_its_runs_together():
    runner = runner_of(orders=2, points=4)
    arms = list(runner.settings.arms)
    jobs = jobs_of([(arm, None, seed) for arm in arms for seed in (0, 1)], runner.group)
    assert [len(job) for job in jobs] == [7, 7] and {cell[2] for cell in jobs[1]} == {1}
    assert sum(runner.baseline(arm).runs for arm in arms) == pytest.approx(5)


def moved(prepared, progress):
    """Stands in for a run: the end is the start and a little noise, by seed and rate."""
    rng = np.random.default_rng((prepared.config.seed, prepared.plan.size_trained))
    rate = prepared.config.optimizer.learning_rate
    ended = jax.tree.map(
        lambda x: x + rate * rng.normal(size=x.shape).astype(x.dtype), prepared.variables
    )
    return types.SimpleNamespace(variables=ended), {}


def test_rows_of_a_seed_are_made_once_and_do_not_depend_on_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr(soups, 'train', moved)
    made = []
    whole = soups.seed_rows
    monkeypatch.setattr(soups, 'seed_rows', lambda *given: made.append(given) or whole(*given))
    monkeypatch.setattr(soups, '_LAST', {})
    runner = runner_of(orders=1, points=3)
    options = {'progress': False, 'together': runner.together, 'group': runner.group}
    rows = run_grid(runner.settings, runner, tmp_path, {}, **options)
    assert len(made) == 2 and len(rows) == 12 and all('identity' in row for row in rows)
    check_soups(rows, 'noise')
    assert runner.baseline('start').verdicts(runner.settings, rows)[0]['passed'] is True
    lost = [{**row, 'status': 'diverged'} for row in rows]
    assert runner.baseline('start').verdicts(runner.settings, lost) == []
    alone = runner(soups.GREEDY, None, 1)
    (row,) = [row for row in rows if (row['arm'], row['seed']) == (soups.GREEDY, 1)]
    assert alone['test'] == row['test'] and len(made) == 2


def test_shifts_are_answered_at_the_threshold_of_the_test_split(monkeypatch):
    asked = []

    def measured(variables, threshold=None):
        asked.append(threshold)
        return {'accuracy': 0.5}

    scores = {'accuracy': 0.6, 'threshold': 0.3}
    prepared = types.SimpleNamespace(
        config=runner_of().config_of(soups.START, None, 0),
        data=types.SimpleNamespace(fingerprint='a', test=types.SimpleNamespace(fingerprint='b')),
        variables={'params': {'head': {'kernel': np.ones(3, np.float32)}}},
        plan=types.SimpleNamespace(size_trained=3),
    )
    monkeypatch.setattr(soups, 'train', moved)
    monkeypatch.setattr(soups, 'split_metrics', lambda *given: scores)
    monkeypatch.setattr(
        soups, 'prepare', lambda config, data: Started(config, prepared.plan, prepared.variables)
    )
    monkeypatch.setattr(
        soups, 'further_tests', lambda *given: [types.SimpleNamespace(name='n', metrics=measured)]
    )
    soup = soups.Soup(take=soups.START, **OPTIONS, orders=1, points=3)
    soups.seed_rows(soup, prepared, AblationSettings(arms={'a': 'head'}, rates=(1e-3,)))
    assert asked and {*asked} == {0.3}


@dataclasses.dataclass
class Started:
    """What `moved` reads of a run."""

    config: object
    plan: object
    variables: object


def check_soups(rows, *shifts):
    """What holds of every soup: the greedy one is no worse than its members where it chose."""
    for seed in (0, 1):
        found = {row['arm']: row for row in rows if row['seed'] == seed}
        members = found[soups.BEST]['members']
        best = max(member['val'] for member in members)
        assert found[soups.BEST]['val']['accuracy'] == best
        assert found[soups.GREEDY]['val']['accuracy'] >= best
        mean = np.mean([member['test'] for member in members])
        assert found[soups.MEAN]['test']['accuracy'] == pytest.approx(mean)
        assert 'examples' in found[soups.BEST] and not {*soups.OF_ONE} & {*found[soups.MEAN]}
        scores = found[soups.UNIFORM]['shifts']
        assert scores[soups.SHIFTED]['accuracy'] == pytest.approx(
            np.mean([scores[name]['accuracy'] for name in shifts])
        )


CONFIG = """
from ml_collections import ConfigDict
from ftjax.config import template
from ftjax.reproductions.soups import soup_arms

def get_config():
    config = template(
        init='glyphs', {more}
        data={{'source': 'digits:scattered', 'examples_per_class': 4, 'val_per_class': 4,
               'batch_size': 20, 'test_per_class': 3, 'test_seed': 0}},
        train={{'steps': 2}},
    )
    config.ablation = ConfigDict({values}, convert_dict=False)
    return config
"""
SOUPS = """{
    'arms': soup_arms(start={'freeze': 'head'}, rates=(1e-3, 3e-3), orders=1, points=3),
    'also_evaluate': {'noise': {'corruption': 'gaussian_noise:0.2'}, 'upright': 'digits'},
    'seeds': (0, 1),
}"""
SURGICAL = """{
    'arms': {'none': {'baseline': 'pretrained'}, 'all': 'full', 'auto': 'auto_rgn:1'},
    'rates': (1e-3,),
    'seeds': (0, 1),
    'reference': 'all',
    'tasks': {
        'some noise': {'data.corruption': 'gaussian_noise:0.1'},
        'flip': {'data.corruption': 'label_flip'},
    },
    'groups': {'noise': ('some noise',), 'flip': ('flip',)},
    'group_gates': {'noise': (('above', 'all', 'none'),)},
}"""


def call(repository, config, folder, *more):
    return subprocess.run(
        [sys.executable, 'scripts/ablate.py', f'--config={config}', f'--workdir={folder}', *more],
        cwd=repository,
        capture_output=True,
        text=True,
        env={**os.environ},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ('values', 'arms', 'more'),
    [(SOUPS, 6, ['--engine=processes', '--workers=2']), (SURGICAL, 3, [])],
)
def test_ablate_makes_the_table_and_a_second_call_repeats_nothing(
    repository, tmp_path, values, arms, more
):
    config, folder = tmp_path / 'small.py', tmp_path / 'run'
    config.write_text(CONFIG.format(values=values, more=''))
    done = call(repository, config, folder, *more)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / 'runs.jsonl').read_text().splitlines()]
    assert len(rows) == 12 and {row['status'] for row in rows} == {'ok'}
    summary = json.loads((folder / 'summary.json').read_text())
    assert all(len(task['arms']) == arms for task in summary['tasks'])
    verdicts = json.loads((folder / 'verdicts.json').read_text())
    assert {'gate', 'report'} == {one['kind'] for one in verdicts}
    assert (folder / 'report.html').exists() and list((folder / 'figures').iterdir())
    if values == SOUPS:
        check_soups(rows, 'noise', 'upright')
    else:
        weights = [row['weights'] for row in rows if row['arm'] == 'auto']
        assert len(weights) == 4 and all(0 < max(w.values()) <= 1 for w in weights)
        assert len({row['test_fingerprint'] for row in rows}) == 2  # one a task, for every seed
    table = (folder / 'table.md').read_text()
    again = call(repository, config, folder)
    assert again.returncode == 0, again.stderr
    assert (folder / 'table.md').read_text().splitlines()[:8] == table.splitlines()[:8]
    summarised = call(repository, config, folder, '--summarise')
    assert summarised.returncode == 0, summarised.stderr
    assert (folder / 'table.md').read_text() == table
    empty = call(repository, config, tmp_path / 'empty', '--summarise')
    assert empty.returncode == 2 and 'holds no rows' in empty.stderr
    config.write_text(CONFIG.format(values=values, more="freeze='last:1',"))
    other = call(repository, config, folder)
    assert other.returncode == 2 and 'another config' in other.stderr
