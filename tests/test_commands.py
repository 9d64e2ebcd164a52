"""`python -m ftjax NAME`, as it stands in for the scripts where there is no checkout."""

import ast
import pathlib
import runpy
import shlex
import subprocess
import sys
import tomllib

import pytest

import ftjax.__main__ as commands
from ftjax.cli.config_file import write_config_file
from ftjax.io.process import provenance

RUFF = pathlib.Path(sys.executable).with_name('ruff')


def test_all_scripts_for_users_are_listed_with_what_they_do(repository, capsys):
    commands.main([])
    said = capsys.readouterr().out
    for name in ('ablate', 'advise', 'audit', 'export', 'plan', 'predict', 'serve', 'train'):
        assert f'\n  {name} ' in said
    assert 'fuzzing' not in said and 'benchmark' not in said and '\n  tutorials ' not in said
    assert commands.found('scripts') == repository / 'scripts'


def test_a_script_runs_as_if_called_by_its_path(repository):
    said = [
        subprocess.run(
            [sys.executable, *start, '--list', 'nothing'],
            capture_output=True,
            text=True,
            cwd=repository,
            check=False,
        )
        for start in (['-m', 'ftjax', 'plan'], ['scripts/plan.py'])
    ]
    assert said[0].returncode == said[1].returncode == 2
    assert said[0].stderr == said[1].stderr and 'error' in said[0].stderr


def test_a_wrong_name_is_told_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as found:
        commands.main(['tain'])
    assert found.value.code == 2 and "did you mean 'train'" in capsys.readouterr().err


def test_recipes_are_copied_and_nothing_is_written_over(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    commands.main(['configs', 'mine'])
    assert (tmp_path / 'mine/finetune.py').exists() and (tmp_path / 'mine/reproductions').is_dir()
    assert list((tmp_path / 'mine/tutorials').glob('*.ipynb'))
    for words in (['configs', 'mine'], ['configs'], ['configs', 'a', 'b']):
        with pytest.raises(SystemExit) as found:
            commands.main(words)
        assert found.value.code == 2
    assert 'is there already' in capsys.readouterr().err


def test_the_wheel_holds_scripts_and_recipes_where_they_are_looked_for(repository):
    settings = tomllib.loads((repository / 'pyproject.toml').read_text('utf-8'))
    shipped = settings['tool']['hatch']['build']['targets']['wheel']['force-include']
    assert shipped == {name: f'ftjax/shipped/{name}' for name in ('scripts', 'configs')}
    assert settings['project']['scripts'] == {'ftjax': 'ftjax.__main__:main'}


def test_results_name_the_command_that_was_typed(monkeypatch):
    path = '/lib/site-packages/ftjax/shipped/scripts/train.py'
    monkeypatch.setattr(sys, 'argv', [path, '--workdir=runs/mine'])
    assert provenance.command_line() == 'python -m ftjax train --workdir=runs/mine'
    assert provenance.script_command('plan', '--a=b') == 'python -m ftjax plan --a=b'


def test_a_config_file_names_a_command_that_can_be_pasted(tmp_path):
    file = tmp_path / 'my chosen.py'
    write_config_file(file, {'seed': 1}, 'What was chosen.')
    said = ast.get_docstring(ast.parse(file.read_text())) or ''
    words = shlex.split(said.splitlines()[-1])
    given = [f'--config={file}', '--workdir=runs/my chosen']
    assert words == ['python', 'scripts/train.py', *given]


def test_a_config_file_is_written_in_the_form_that_the_project_checks(
    repository, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file = pathlib.Path('chosen.py')
    long = tuple(f'a class with a long name, number {number}' for number in range(4))
    values = {
        'seed': 1,
        'data': {'class_names': long, 'mean': (0.5,), 'limits': {}, "a 'quoted' key": None},
        'ablation': {'tasks': ({'name': 'one', 'texts': long},)},
        'train': {f'key_{number}': ('x' * number,) for number in range(70, 84)},
    }
    write_config_file(file, values, 'What was chosen.')
    for check in (['check'], ['format', '--check']):
        command = [RUFF, *check, '--no-cache', f'--config={repository / "pyproject.toml"}', file]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    room = runpy.run_path(str(file))
    assert room['VALUES'] == values


def test_commands_in_help_are_written_as_they_are_pasted(repository):
    """A line that goes on after a backslash is shown as two: docstrings with one are raw."""
    for folder in ('scripts', 'configs'):
        for file in sorted((repository / folder).rglob('*.py')):
            said = ast.get_docstring(ast.parse(file.read_text())) or ''
            assert all(len(line) <= 100 for line in said.splitlines()), file
