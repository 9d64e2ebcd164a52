"""A full disk or a read-only folder is one line, and the run goes on once there is room again."""

import errno
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.io.files import atomic
from ftjax.io.files.saved_step import restored, steps_in
from ftjax.io.json.jsonl import read_jsonl
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train
from ftjax.training.checkpoints.checkpoints import Checkpoints
from ftjax.training.loop import metrics_log

resource = pytest.importorskip('resource')

CONFIG = {
    'init': '',
    'model': {'name': 'vit', 'image_size': 16, 'patch_size': 8, 'width': 8, 'depth': 2, 'heads': 2},
    'data': {'source': 'digits:scattered', 'examples_per_class': 3, 'batch_size': 10},
    'train': {'steps': 6, 'eval_every': 0.67, 'cache': 'off', 'report': False},
    'freeze': 'last:1',
}


@pytest.fixture(scope='module')
def prepared():
    return prepare(read_config(CONFIG))


@pytest.fixture(scope='module')
def whole(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    return train(prepared, folder, progress=False)[0], (folder / 'metrics.jsonl').read_bytes()


def goes_on(prepared, folder, whole):
    result, _ = train(prepared, folder, progress=False)
    assert all(
        map(np.array_equal, jax.tree.leaves(result.variables), jax.tree.leaves(whole[0].variables))
    )
    assert (folder / 'metrics.jsonl').read_bytes() == whole[1]
    assert (folder / 'result.json').exists()
    assert not [path for path in folder.rglob('*') if 'tmp' in path.name]


@pytest.fixture
def room():
    """Sets the largest file that can be written, as a full disk would; None for no limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size=None):
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))

    yield limit
    limit()


def test_a_checkpoint_that_does_not_fit(prepared, whole, tmp_path, monkeypatch, room):
    save, calls = Checkpoints.save, []

    def filling(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            self.wait()
            room(2500)
        return save(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, 'save', filling)
        with pytest.raises(UserError, match=r'disk is full.*earlier checkpoints are untou'):
            train(prepared, tmp_path, progress=False)
    room()
    assert steps_in(tmp_path / 'checkpoints') == (2,)
    assert not restored(tmp_path / 'checkpoints').problems
    goes_on(prepared, tmp_path, whole)


def full_for(patch, module, name, wanted):
    """Makes a call of the system fail as on a full disk, where its arguments are `wanted`."""
    function = getattr(module.os, name)

    def failing(*args):
        if wanted(*args):
            raise OSError(errno.ENOSPC, 'No space left on device')
        return function(*args)

    patch.setattr(module.os, name, failing)


def test_a_row_of_metrics_that_does_not_fit(prepared, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        full_for(patch, metrics_log, 'write', lambda _, data: data.startswith(b'{"step": 4'))
        with pytest.raises(UserError, match=r'metrics\.jsonl: No space left'):
            train(prepared, tmp_path, progress=False)
    assert [row['step'] for row in read_jsonl(tmp_path / 'metrics.jsonl')] == [2]
    goes_on(prepared, tmp_path, whole)


def test_half_a_row_that_fits_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / 'metrics.jsonl'
    with metrics_log.JsonLines(path) as lines:
        lines.append({'step': 1})
        write = os.write
        with monkeypatch.context() as patch:
            patch.setattr(metrics_log.os, 'write', lambda handle, data: write(handle, data[:5]))
            with pytest.raises(UserError, match='no space left'):
                lines.append({'step': 2})
        lines.append({'step': 3})
    assert [row['step'] for row in read_jsonl(path)] == [1, 3]


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors', 'result.json'])
def test_a_file_at_the_beginning_or_the_end(prepared, whole, tmp_path, monkeypatch, name):
    with monkeypatch.context() as patch:
        full_for(patch, atomic, 'replace', lambda _, target: str(target).endswith(name))
        with pytest.raises(UserError, match='No space left on device'):
            train(prepared, tmp_path, progress=False)
    assert not (tmp_path / 'result.json').exists() and not (tmp_path / '.lock').exists()
    goes_on(prepared, tmp_path, whole)


def test_closing_a_log_on_a_full_disk_closes_it(tmp_path, monkeypatch):
    lines = metrics_log.JsonLines(tmp_path / 'runs.jsonl')
    with monkeypatch.context() as patch:
        full_for(patch, metrics_log, 'fsync', lambda handle: True)
        with pytest.raises(UserError, match=r'runs\.jsonl: No space left'):
            lines.close()
    lines.close()


def script(repository, folder, *more):
    command = [sys.executable, 'scripts/train.py', '--config=configs/quickstart_train.py']
    return subprocess.run(
        [*command, f'--workdir={folder}', '--config.train.epochs=1', *more],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='needs /proc')
def test_a_folder_that_cannot_be_made_is_one_line(repository):
    done = script(repository, '/proc/ftjax')
    assert done.stderr.startswith('error: cannot write to /proc/ftjax: ')
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)


@pytest.mark.slow
def test_a_finished_run_is_shown_without_touching_its_folder(repository, tmp_path):
    assert script(repository, tmp_path).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob('*')]}
    done = script(repository, tmp_path)
    assert done.returncode == 0 and 'is finished already' in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob('*')]}
    done = script(repository, tmp_path, '--config.seed=1')
    assert done.returncode == 2 and 'another config (seed differs)' in done.stderr
