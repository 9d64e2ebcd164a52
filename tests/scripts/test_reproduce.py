"""scripts/reproduce.sh: from a name to a config and a folder, or what names there are."""

import os
import pathlib
import subprocess

import pytest

from ftjax.ablation.settings import read_ablation
from ftjax.config import merged, plain, read_config


def reproduce(repository, *arguments):
    # `echo` for the interpreter: what would be run is printed instead.
    return subprocess.run(
        ['bash', repository / 'scripts' / 'reproduce.sh', *arguments],
        env={**os.environ, 'FTJAX_PYTHON': 'echo'},
        capture_output=True,
        text=True,
        cwd='/',
    )


@pytest.mark.parametrize('arguments', [[], ['T99'], ['../t4']])
def test_an_unknown_name_lists_those_there_are(repository, arguments):
    done = reproduce(repository, *arguments)
    assert done.returncode == 2 and done.stderr.startswith('error: no reproduction')
    there = {path.stem.upper() for path in (repository / 'configs/reproductions').glob('*.py')}
    assert set(done.stderr.partition('there are: ')[2].split()) == there


@pytest.mark.parametrize('name', ['T4', 't4'])
def test_a_name_runs_its_config_with_the_flags_that_follow(repository, name):
    done = reproduce(repository, name, '--config.seed=1')
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == (
        'scripts/ablate.py --config=configs/reproductions/t4.py '
        '--workdir=runs/reproductions/t4 --config.seed=1'
    )


def configs(repository):
    for path in sorted((repository / 'configs' / 'reproductions').glob('*.py')):
        scope = {'__name__': path.stem}
        exec(compile(path.read_text(encoding='utf-8'), str(path), 'exec'), scope)
        yield pathlib.Path(path).stem, plain(scope['get_config']())


def test_every_config_names_arms_and_gates_that_can_be_read(repository):
    seen = []
    for name, values in configs(repository):
        if 'ablation' in values:
            settings = read_ablation(values.pop('ablation'))
            for arm in settings.tuned:
                read_config(merged(values, settings.changes(arm)))
            assert settings.gates and settings.notes, f'{name}: no gate, or no reduction stated'
        seen.append(name)
    assert 't4' in seen
