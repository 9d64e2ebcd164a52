"""A run's own parts are those of the file that registered them, whatever else has their names."""

import json
import runpy
import sys

import pytest

from ftjax import registry
from ftjax.cli.config_file import write_config_file
from ftjax.errors import UserError
from ftjax.io.identity import own_parts
from ftjax.pretrained.families.own import own_family
from ftjax.tasks import loss, metric, task
from ftjax.tasks.classification import Classification

KINDS = ('schedule', 'task', 'metric', 'model', 'loss', 'family')
SCHEDULE = """
from ftjax.registry import register

@register('schedule', 'mine')
def mine(settings, done, step, total):
    return {factor}
"""


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Parts that a test registers, and what it names, are gone after it."""
    monkeypatch.setenv('FTJAX_CACHE', str(tmp_path / 'cache'))
    for kind in KINDS:
        monkeypatch.setitem(registry.PARTS, kind, dict(registry.parts(kind)))
    monkeypatch.setattr(registry, 'FILES', {})
    monkeypatch.setattr(own_parts, '_NAMED', set())


def run_of(folder, body, config, file='exp.py'):
    """A run of a file in a folder of its own, in a process that has ended."""
    (folder / 'run').mkdir(parents=True)
    (folder / file).write_text(body)
    own_parts.run_file(folder / file)
    own_parts.remember(folder / 'run', config)
    for kind in KINDS:
        for name in [n for n, part in registry.PARTS[kind].items() if part in registry.own()]:
            del registry.PARTS[kind][name]
    return folder / 'run'


def test_a_part_of_another_file_is_not_taken_for_that_of_the_run(tmp_path):
    config = {'schedule': {'name': 'mine'}}
    first = run_of(tmp_path / 'a', SCHEDULE.format(factor=1.0), config)
    second = run_of(tmp_path / 'b', SCHEDULE.format(factor=0.1), config)
    own_parts.restore(first)
    with pytest.raises(UserError, match=r"'schedule mine' of .*b/exp\.py, and here .*a/exp\.py"):
        own_parts.restore(second)
    own_parts.restore(first)  # its own file
    # A file that the user names is taken, and so is one that has only moved.
    del registry.PARTS['schedule']['mine']
    own_parts.restore(first, [str(tmp_path / 'b' / 'exp.py')])
    own_parts.restore(first)
    assert registry.PARTS['schedule']['mine'].function(None, 0, 0, 1) == 0.1
    own_parts._NAMED.clear()
    del registry.PARTS['schedule']['mine']
    (tmp_path / 'same.py').write_text(f'# the same code\n{SCHEDULE.format(factor=1.0)}')
    own_parts.run_file(tmp_path / 'same.py')
    own_parts.restore(first)
    with pytest.raises(UserError, match=r'here .*same\.py'):
        own_parts.restore(second)
    (tmp_path / 'a' / 'exp.py').rename(tmp_path / 'moved.py')
    own_parts.restore(first)


@pytest.mark.parametrize(
    ('kind', 'line'),
    [
        ('loss', "loss('mine', 'classification')(elsewhere)"),
        ('metric', "metric('mine')(functools.partial(elsewhere, 1))"),
        ('task', "task('mine')(type('Mine', (Classification,), {}))"),
        ('model', "register('model', 'mine')(dataclass(type('Mine', (), {})))"),
        ('schedule', "register('schedule', 'größe')(elsewhere)"),
    ],
)
def test_the_file_that_registers_is_remembered(tmp_path, monkeypatch, kind, line):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'of_a_package.py').write_text('def elsewhere(*given):\n    return 1.0\n')
    body = (
        'import functools\nfrom dataclasses import dataclass\nfrom of_a_package import elsewhere\n'
        'from ftjax.registry import register\nfrom ftjax.tasks import loss, metric, task\n'
        'from ftjax.tasks.classification import Classification\n'
    )
    name = 'größe' if 'größe' in line else 'mine'
    run = run_of(tmp_path / 'a', f'{body}{line}\n', {'any': f'{name}:2'})
    monkeypatch.delitem(sys.modules, 'of_a_package')
    (entry,) = json.loads((run / 'parts.json').read_text())['files']
    assert entry['path'] == str(tmp_path / 'a' / 'exp.py')
    assert entry['parts'] == [f'{kind} {name}']
    own_parts.restore(run)
    assert registry.PARTS[kind][name].file == entry['path']


def test_a_file_that_does_not_register_when_run_alone_is_told_of(tmp_path):
    body = f"if __name__ == 'again':\n{'    '}pass\nelse:\n" + ''.join(
        f'    {line}\n' for line in SCHEDULE.format(factor=1.0).splitlines()
    )
    body = body.replace("__name__ == 'again'", "__import__('os').environ.get('AGAIN')")
    run = run_of(tmp_path / 'a', body, {'schedule': 'mine'})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('AGAIN', '1')
        with pytest.raises(UserError, match=r'schedule mine, which .*exp\.py registered then'):
            own_parts.restore(run)


def test_functions_of_ftjax_register_for_their_caller():
    task('mine')(type('Mine', (Classification,), {}))
    metric('mine')(len)
    loss('mine')(len)
    own_family('mine', [])
    for kind in ('task', 'metric', 'loss', 'family'):
        part = registry.PARTS[kind]['mine']
        assert part.file == __file__ and part in registry.own()


@pytest.mark.parametrize('kind', ['strategy', 'metric', 'task', 'missing', 'head', 'family'])
def test_a_kind_that_needs_details_says_what_registers_it(kind):
    with pytest.raises(UserError, match=f"'mine' lacks its details; register it by .*{kind[:4]}"):
        registry.register(kind, 'mine')(len)
    assert 'mine' not in registry.PARTS[kind]


TRAINS = """
from ftjax.config import read_config
from ftjax.runs.run import train
{part}
{before}train(None)
raise SystemExit('it went on')
"""


@pytest.mark.parametrize(
    'before', ['', 'from ftjax.api import Finetuning; Finetuning.fit(None) or ']
)
def test_a_file_that_trains_registers_its_parts_and_trains_nothing(tmp_path, before):
    part = SCHEDULE.format(factor=1.0)
    run = run_of(tmp_path / 'a', TRAINS.format(part=part, before=before), {'schedule': 'mine'})
    assert 'mine' not in registry.PARTS['schedule']
    own_parts.restore(run)
    assert 'mine' in registry.PARTS['schedule'] and not own_parts._RUNNING


def test_a_config_file_that_is_written_runs_the_files_of_its_parts(tmp_path):
    own = tmp_path / "it's mine.py"
    own.write_text(SCHEDULE.format(factor=1.0))
    own_parts.run_file(own)
    for name, values in (('own', {'schedule': {'name': 'mine'}}), ('shipped', {'seed': 1})):
        write_config_file(tmp_path / f'{name}.py', values, 'What was chosen.')
        assert ('run_file' in (tmp_path / f'{name}.py').read_text()) == (name == 'own')
    del registry.PARTS['schedule']['mine']
    config = runpy.run_path(str(tmp_path / 'own.py'))['get_config']()
    assert config.schedule.name in registry.PARTS['schedule']
    assert registry.PARTS['schedule']['mine'].file == str(own)
