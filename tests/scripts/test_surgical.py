"""Surgical tasks and soups: their data, their cells, their scripts from end to end."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ftjax.config import plain, template
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.reproductions import soups, surgical

SMALL = {'name': 'resnet_bn_cifar', 'depth': 8, 'width': 4, 'image_size': 8}
FEW = {'source': 'digits', 'examples_per_class': 2}
DIGITS = DataSettings(source='digits', examples_per_class=2, val_per_class=3)


def splits(seed=0, **task):
    settings = dataclasses.replace(DIGITS, seed=seed)
    return surgical.task_data(settings, surgical.Task(**task), test_per_class=4)


def test_test_images_are_fixed_and_the_others_follow_the_seed():
    one, other = splits(0), splits(1)
    assert len(one.train), len(one.val) == (20, 30)
    assert list(one.test.ids) == list(other.test.ids) and len(one.test) == 40
    assert set(one.train.ids) != set(other.train.ids)
    for made in (one, other):
        ids = [set(part.ids) for part in (made.train, made.val, made.test)]
        assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
        assert np.bincount(made.test.labels).tolist() == [4] * 10


def test_tasks_have_the_same_images_under_another_shift():
    clean, noisy, flipped = splits(), splits(corruption='gaussian_noise:0.3'), splits(flip=True)
    for part in ('train', 'val', 'test'):
        a, b, c = (getattr(made, part) for made in (clean, noisy, flipped))
        assert list(a.ids) == list(b.ids) == list(c.ids)
        assert (a.inputs != b.inputs).any() and (a.labels == b.labels).all()
        assert (a.inputs == c.inputs).all() and (a.labels + c.labels == 9).all()


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'tasks': {'x': {'corruption': 'gausian_noise:0.1'}}}, ['gaussian_noise']),
        ({'tasks': {'x': {'flipp': True}}}, ['flip']),
        ({'groups': {'g': ('y',)}}, ["'y'"]),
        ({'gates': {'h': ()}}, ["'h'"]),
        ({'test_per_clas': 1}, ['test_per_class']),
    ],
)
def test_a_mistake_in_the_section_is_named(change, words):
    good = {
        'tasks': {'x': {'flip': True}},
        'ablation': {'arms': {'a': 'full'}, 'rates': (1e-3,)},
        'test_per_class': 4,
        'groups': {'g': ('x',)},
        'gates': {'g': ()},
    }
    assert surgical.read_surgical(good).tasks['x'].flip
    with pytest.raises(UserError) as caught:
        surgical.read_surgical({**good, **change})
    assert all(word in str(caught.value) for word in words)


def test_soups_need_members_and_shifts_and_know_their_keys():
    good = {'start': {'freeze': 'head'}, 'shifts': {'x': {}}, 'rates': (1e-3, 1e-2)}
    assert soups.read_soups(good).orders == 3
    for change in ({'rate': 1}, {'rates': (1e-3,), 'orders': 1}, {'shifts': {}}, {'points': 2}):
        with pytest.raises(UserError, match=r'config\.soups'):
            soups.read_soups({**good, **change})


def test_soups_of_members_that_move_statistics_are_refused_before_any_run():
    values = plain(template(init='', model=SMALL, data=FEW))
    values['freeze'] = {'strategy': 'full', 'norm': 'train'}
    settings = soups.read_soups({'start': {'freeze': 'head'}, 'shifts': {'x': {}}, 'rates': (1.0,)})
    with pytest.raises(UserError, match=r"moves running statistics.*'norm': 'frozen'"):
        soups.seed_rows(values, settings, 0)


CONFIG = """
from ml_collections import ConfigDict
from ftjax.config import template

def get_config():
    config = template(
        init='glyphs', {more}
        data={{'source': 'digits:scattered', 'examples_per_class': 4, 'val_per_class': 4,
               'batch_size': 20}},
        train={{'steps': 2}},
    )
    config.{section} = ConfigDict({values}, convert_dict=False)
    return config
"""
SOUPS = {
    'start': {'freeze': 'head', 'optimizer.learning_rate': 1e-2},
    'shifts': {'noise': {'corruption': 'gaussian_noise:0.2'}, 'upright': {'source': 'digits'}},
    'rates': (1e-3, 3e-3),
    'orders': 1,
    'seeds': (0, 1),
    'points': 3,
    'question': 'Soup?',
}
SURGICAL = {
    'ablation': {
        'arms': {
            'none': {'baseline': 'pretrained'},
            'all': 'full',
            'auto': 'auto_rgn:1',
        },
        'rates': (1e-3,),
        'seeds': (0, 1),
        'reference': 'all',
    },
    'tasks': {'some noise': {'corruption': 'gaussian_noise:0.1'}, 'flip': {'flip': True}},
    'test_per_class': 3,
    'groups': {'noise': ('some noise',), 'flip': ('flip',)},
    'gates': {'noise': (('above', 'all', 'none'),)},
}


def call(repository, script, config, folder):
    return subprocess.run(
        [sys.executable, f'scripts/{script}.py', f'--config={config}', f'--workdir={folder}'],
        cwd=repository,
        capture_output=True,
        text=True,
        env={**os.environ},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ('script', 'values', 'arms', 'count'),
    [('soups', SOUPS, 6, 12), ('surgical', SURGICAL, 3, 12)],
)
def test_a_script_makes_the_table_and_a_second_call_repeats_nothing(
    repository, tmp_path, script, values, arms, count
):
    config, folder = tmp_path / 'small.py', tmp_path / 'run'
    config.write_text(CONFIG.format(section=script, values=values, more=''))
    done = call(repository, script, config, folder)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / 'runs.jsonl').read_text().splitlines()]
    assert len(rows) == count and {row['status'] for row in rows} == {'ok'}
    summary = json.loads((folder / 'summary.json').read_text())
    assert all(len(task['arms']) == arms for task in summary['tasks'])
    verdicts = json.loads((folder / 'verdicts.json').read_text())
    assert {'gate', 'report'} == {one['kind'] for one in verdicts}
    assert (folder / 'report.html').exists() and list((folder / 'figures').iterdir())
    if script == 'soups':
        check_soups(rows)
    else:
        weights = [row['weights'] for row in rows if row['arm'] == 'auto']
        assert len(weights) == 4 and all(0 < max(w.values()) <= 1 for w in weights)
    table = (folder / 'table.md').read_text()
    again = call(repository, script, config, folder)
    assert again.returncode == 0, again.stderr
    assert (folder / 'table.md').read_text() == table
    config.write_text(CONFIG.format(section=script, values=values, more="freeze='last:1',"))
    other = call(repository, script, config, folder)
    assert other.returncode == 2 and 'another config' in other.stderr


def check_soups(rows):
    """What holds of every soup: the greedy one is no worse than its members where it chose."""
    for seed in (0, 1):
        found = {row['arm']: row for row in rows if row['seed'] == seed}
        members = found[soups.BEST]['members']
        best = max(member['val'] for member in members)
        assert found[soups.BEST]['val']['accuracy'] == best
        assert found[soups.GREEDY]['val']['accuracy'] >= best
        mean = np.mean([member['test'] for member in members])
        assert found[soups.MEAN]['test']['accuracy'] == pytest.approx(mean)
        shifts = found[soups.UNIFORM]['shifts']
        assert shifts[soups.SHIFTED]['accuracy'] == pytest.approx(
            np.mean([shifts[name]['accuracy'] for name in ('noise', 'upright')])
        )
