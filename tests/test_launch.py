"""Scripts end well or in one line: what is said about wrong flags, configs and machines."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import types

import jax
import pytest
from absl import app, flags

from ftjax.cli import launch
from ftjax.cli.flags import is_folder
from ftjax.errors import UserError
from ftjax.xla.compilation_cache import enable_compilation_cache

SCRIPT = """
    '''A script.'''
    import sys

    from ftjax.cli import launch
    from ftjax.errors import UserError

    CONFIG = launch.define_config()
    WORKDIR = launch.define_workdir()


    def main():
        config = CONFIG.value
        print(config.seed, config.data.source, config.limit, WORKDIR.value)
        if config.fail == 'user':
            raise UserError('no such folder: x;\\ndid you mean y?')
        if config.fail == 'bug':
            raise KeyError('x')
        if config.fail == 'disk':
            raise OSError(28, 'No space left on device', '/full/file')
        if config.fail == 'wait':
            print('waiting', flush=True)
            import time

            time.sleep(60)
        return 0


    if __name__ == '__main__':
        launch.run(main)
"""
CONFIG = """
    import ml_collections


    def get_config(size='small'):
        config = ml_collections.ConfigDict()
        config.seed = 0
        config.fail = ''
        config.nothing = None
        config.limit = ml_collections.config_dict.placeholder(int)
        config.data = ml_collections.ConfigDict({'source': 'digits', 'batch_size': 32})
        if size == 'wrong':
            raise ValueError('no such size')
        return config
"""

# Imports what scripts import once. Each line it reads is a call; a fork of it is the script's
# process, with flags, exit code and output of its own. It ends as an interpreter does, but leaves
# out to take itself apart, which takes five times as long as all before.
FORKS = """
    import json
    import os
    import runpy
    import sys
    import traceback

    import ftjax.config
    from ftjax.cli import launch

    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            os.environ.update(asked['environment'])
            sys.argv = ['script.py', *asked['arguments']]
            for stream, name in ((1, 'stdout'), (2, 'stderr')):
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
            status = 0
            try:
                runpy.run_path('script.py', run_name='__main__')
            except SystemExit as error:
                status = int(error.code or 0)
            except BaseException:
                traceback.print_exc()
                status = 1
            sys.stdout.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(status), flush=True)
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('launch')
    files = {
        'script.py': SCRIPT,
        'forks.py': FORKS,
        'config.py': CONFIG,
        'syntax.py': 'x = 1\ndef get_config(:\n',
        'empty.py': 'x = 1\n',
        'broken.py': 'import nosuchmodule\n\ndef get_config():\n    return nosuchmodule\n',
        'raises.py': 'def get_config():\n    return 1 / 0\n',
    }
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def run(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, 'script.py', *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope='module')
def fork(folder):
    """As `run`, without the seconds of the imports."""
    with subprocess.Popen(
        [sys.executable, 'forks.py'],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def call(*arguments, **environment):
            asked = {'arguments': arguments, 'environment': environment}
            process.stdin.write(json.dumps(asked) + '\n')
            process.stdin.flush()
            status = json.loads(process.stdout.readline())
            said = {name: (folder / name).read_text() for name in ('stdout', 'stderr')}
            return types.SimpleNamespace(returncode=status, **said)

        yield call
        process.stdin.close()


def test_flags_reach_the_config(folder):
    done = run(
        folder,
        '--config=config.py:small',
        '--config.seed=3',
        '--config.data.source=csv:a.csv',
        '--config.limit=7',
        '--workdir=out',
    )
    assert (done.returncode, done.stdout) == (0, '3 csv:a.csv 7 out\n')
    assert done.stderr == ''


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'the flag --config is missing'),
        (['--config=config.py'], 'the flag --workdir is missing'),
        (['--config=confg.py'], "no such config file: confg.py; did you mean 'config.py'"),
        (['--config=syntax.py'], 'config file syntax.py line 2 is not Python: invalid syntax'),
        (['--config=empty.py'], 'config file empty.py defines no get_config()'),
        (['--config=broken.py'], 'config file broken.py line 1: ModuleNotFoundError: No module'),
        (['--config=raises.py'], 'config file raises.py line 2: ZeroDivisionError: division by'),
        (['--config=config.py:wrong'], 'config file config.py line 13: ValueError: no such size'),
        (['--config=config.py', '--config.sed=1'], "unknown config key 'sed'; did you mean 'seed'"),
        (
            ['--config=config.py', '--config.data.sorce=x'],
            "unknown config key 'data.sorce'; did you mean 'data.source'",
        ),
        (['--config=config.py', '--config.dta.source=x'], "did you mean 'data.source'"),
        (['--config=config.py', '--config.data.source.x=1'], "key 'data.source.x'; did you"),
        (
            ['--config=config.py', '--config.seed=x'],
            "seed is 'x'; expected a whole number",
        ),
        (['--config=config.py', '--config.nothing=3'], 'config.nothing is None in config.py'),
        (['--config.seed=1', '--config=config.py'], 'before a value for --config'),
        (['--config=config.py', '--wrkdir=x'], "unknown flag --wrkdir; did you mean 'workdir'?"),
        (['--config=config.py', '--workdir=x', 'more'], "unexpected argument 'more'"),
    ],
    ids=lambda value: ' '.join(value) or 'nothing' if isinstance(value, list) else '',
)
def test_wrong_flags_and_configs_are_one_line(fork, arguments, message):
    done = fork(*arguments)
    assert done.stderr.startswith('error: ')
    assert message in done.stderr
    assert done.stderr.count('\n') == 1
    assert (done.returncode, done.stdout) == (2, '')


@pytest.mark.parametrize(
    ('fail', 'status', 'stderr'),
    [
        ('user', 2, 'error: no such folder: x; did you mean y?\n'),
        ('disk', 3, 'error: No space left on device: /full/file\n'),
    ],
)
def test_what_main_raises_is_one_line(folder, fail, status, stderr):
    done = run(folder, '--config=config.py', '--workdir=x', f'--config.fail={fail}')
    assert (done.returncode, done.stderr) == (status, stderr)


def test_a_fault_of_the_program_keeps_its_traceback(fork):
    done = fork('--config=config.py', '--workdir=x', '--config.fail=bug')
    assert done.returncode == 1
    assert "KeyError: 'x'" in done.stderr
    assert 'Traceback' in done.stderr


def test_the_traceback_can_be_asked_for(fork):
    arguments = ('--config=config.py', '--workdir=x', '--config.fail=user')
    done = fork(*arguments, FTJAX_TRACEBACK='1')
    assert done.returncode == 2
    assert 'Traceback' in done.stderr
    assert done.stderr.endswith('error: no such folder: x; did you mean y?\n')


def test_an_interrupt_is_one_line(folder):
    command = [sys.executable, 'script.py', '--config=config.py', '--workdir=x']
    with subprocess.Popen(
        [*command, '--config.fail=wait'],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell has put in the background ignore SIGINT, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        process.stdout.readline()
        assert process.stdout.readline() == 'waiting\n'
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == 'error: interrupted\n'
    assert process.returncode == 130


@pytest.mark.parametrize('script', ['train', 'ablate', 'predict', 'inspect_checkpoint'])
def test_help_is_answered_without_jax(repository, script):
    command = [sys.executable, '-X', 'importtime', f'scripts/{script}.py', '--help']
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60)
    assert f'{script}.py:' in done.stdout, done.stderr[-500:]
    assert 'absl.flags' in done.stderr and ' jax\n' not in done.stderr


def test_help_lists_the_flags_of_the_script(fork):
    done = fork('--help')
    assert '--config' in done.stdout
    assert '--workdir' in done.stdout


@pytest.mark.parametrize(
    ('error', 'status', 'beginning'),
    [
        (UserError('a\n b'), 2, 'a b'),
        (app.UsageError('use it so'), 2, 'use it so'),
        (flags.Error('bad'), 2, 'bad'),
        (KeyboardInterrupt(), 130, 'interrupted'),
        (MemoryError(), 3, 'out of memory; try a smaller data.batch_size'),
        (jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: 9 GB'), 3, 'out of device memory'),
        (OSError(errno.EROFS, 'Read-only file system', '/x'), 3, 'Read-only file system: /x'),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else '',
)
def test_explanations(error, status, beginning):
    message, code = launch.explain(error)
    assert code == status
    assert message.startswith(beginning)


@pytest.mark.parametrize(
    'error',
    [ValueError('x'), KeyError('x'), OSError(errno.EIO, 'x'), jax.errors.JaxRuntimeError('bug')],
    ids=repr,
)
def test_faults_are_not_explained_away(error):
    assert launch.explain(error) is None


def test_programs_are_kept_between_runs(tmp_path):
    code = (
        'from ftjax.xla.compilation_cache import enable_compilation_cache as e; print(e());'
        'import jax; jax.jit(lambda x: x * 41.5)(1.0)'
    )
    environment = {**os.environ, 'FTJAX_CACHE': str(tmp_path)}
    del environment['JAX_COMPILATION_CACHE_DIR']
    times = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, '-c', code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        folder = done.stdout.strip()
        assert folder.startswith(str(tmp_path / 'compiled' / f'jax-{jax.__version__}-'))
        assert done.stderr == ''
        times.append({f: os.stat(f'{folder}/{f}').st_mtime_ns for f in os.listdir(folder)})
    programs = [{f: t for f, t in found.items() if f.endswith('-cache')} for found in times]
    assert programs[0]
    assert programs[0] == programs[1]  # read, not written again


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, caplog):
    (tmp_path / 'file').write_text('')
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
    before = jax.config.jax_compilation_cache_dir
    assert enable_compilation_cache(tmp_path / 'file') is None
    assert 'no compilation cache' in caplog.text
    assert jax.config.jax_compilation_cache_dir == before


@pytest.mark.parametrize('url', ['s3://bucket/runs', 'memory://runs', 'file:///data/runs'])
def test_results_are_not_written_to_a_url(url):
    with pytest.raises(flags.ValidationError, match=r'expected a folder of a file system: .* lock'):
        is_folder(url)
    assert is_folder('runs/s3') and is_folder(None)


def test_a_key_that_holds_a_dot_is_named(folder):
    source = (
        'from ml_collections import ConfigDict\n'
        'def get_config():\n'
        "    tasks = {'one': {'data.source': 'digits'}}\n"
        "    return ConfigDict({'tasks': tasks, 'seed': 0}, convert_dict=False)\n"
    )
    (folder / 'dotted.py').write_text(source)
    command = '--config=dotted.py', '--workdir=out', '--config.tasks.one.data.source=glyphs'
    done = run(folder, *command)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'config.tasks.one.data.source cannot be changed on the command line' in done.stderr
