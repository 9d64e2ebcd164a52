"""No file outside a run's folder is touched through a link in it; a lost folder is noticed."""

import errno
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from ftjax.config import read_config
from ftjax.errors import UserError
from ftjax.io.files import lock
from ftjax.io.files.atomic import read_json, write_json
from ftjax.io.files.lock import run_lock
from ftjax.io.files.lock_owner import NAME
from ftjax.io.files.owned_files import check_way, open_plain, owned, whole_file
from ftjax.io.json.jsonl import JsonLines
from ftjax.runs.prepare import prepare
from ftjax.runs.run import train

CONFIG = {
    'init': '',
    'model': {'name': 'vit', 'image_size': 16, 'patch_size': 8, 'width': 8, 'depth': 2, 'heads': 2},
    'data': {'source': 'digits', 'examples_per_class': 3, 'batch_size': 10},
    'train': {'steps': 6, 'eval_every': 0.67, 'cache': 'off', 'report': False},
    'freeze': 'last:1',
}


@pytest.fixture
def outside(tmp_path):
    """A user's folder with a file, beside the run's folder."""
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'precious').write_text('precious\n')
    yield folder
    assert [path.name for path in folder.iterdir()] == ['precious']
    assert (folder / 'precious').read_text() == 'precious\n'


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    return folder


@pytest.mark.parametrize('link', [os.symlink, os.link], ids=['symbolic', 'hard'])
def test_a_lock_that_is_a_link_is_refused_and_nothing_truncated(run, outside, link):
    link(outside / 'precious', run / NAME)
    with pytest.raises(UserError, match=r'\.lock is a.* link') as caught, run_lock(run):
        pass
    assert '\n' not in str(caught.value)


def test_a_lock_that_leads_to_nothing_makes_nothing(run, tmp_path):
    (run / NAME).symlink_to(tmp_path / 'new')
    with pytest.raises(UserError, match='is a link'), run_lock(run):
        pass
    assert not (tmp_path / 'new').exists()


def test_a_lock_that_is_no_file_of_ours_is_left(run):
    (run / NAME).write_bytes(b'x' * 5000)
    with pytest.raises(UserError, match='is no lock of a run'), run_lock(run):
        pass
    assert (run / NAME).read_bytes() == b'x' * 5000
    (run / NAME).unlink()
    os.mkfifo(run / NAME)
    with pytest.raises(UserError, match='is no plain file'), run_lock(run):
        pass
    (run / NAME).unlink()
    (run / NAME).mkdir()
    with pytest.raises(UserError, match='cannot write to'), run_lock(run):
        pass


@pytest.fixture(scope='module')
def prepared():
    return prepare(read_config(CONFIG))


@pytest.mark.parametrize(
    'name', ['checkpoints', 'model', 'network', 'metrics.jsonl', 'config.json', 'checkpoints/1']
)
def test_a_run_does_not_write_through_a_link(run, outside, prepared, monkeypatch, name):
    def fit(*_, **__):
        raise AssertionError('trained before the link was seen')

    if name not in ('metrics.jsonl', 'checkpoints/1'):
        monkeypatch.setattr('ftjax.runs.run.fit', fit)
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(outside if '.' not in name else outside / 'precious')
    with pytest.raises(UserError, match=r'link.*remove the link'):
        train(prepared, run, progress=False)
    assert not (run / 'result.json').exists()


def test_a_folder_of_runs_may_be_a_link_itself(tmp_path, prepared):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'runs').symlink_to(tmp_path / 'disk')
    train(prepared, tmp_path / 'runs' / 'one', progress=False)
    assert (tmp_path / 'disk' / 'one' / 'result.json').exists()


def test_reads_and_writes_stay_inside_and_what_lies_inside_may_be_linked(run, outside):
    (run / 'sub').mkdir()
    (run / 'inside').symlink_to(run / 'sub')
    (run / 'out').symlink_to(outside)
    (run / 'read.json').symlink_to(outside / 'precious')
    with owned(run):
        write_json(run / 'inside' / 'a.json', 1)
        assert read_json(run / 'inside' / 'a.json') == 1
        for path in (run / 'out' / 'a.json', run / 'sub' / '..' / 'out' / 'a.json'):
            with pytest.raises(UserError, match='leads out of'):
                write_json(path, 1)
        with pytest.raises(UserError, match='leads out of'):
            read_json(run / 'read.json')
        write_json(run / 'read.json', 2)  # the link is replaced, not followed
        check_way(outside / 'precious')  # nothing is said of other folders
    assert not (run / 'read.json').is_symlink()


def test_a_log_is_not_appended_to_through_a_link(run, outside):
    (run / 'runs.jsonl').symlink_to(outside / 'precious')
    with pytest.raises(UserError, match='is a link'):
        JsonLines(run / 'runs.jsonl')
    (run / 'runs.jsonl').unlink()
    with pytest.raises(FileNotFoundError):
        open_plain(run / 'runs.jsonl', os.O_RDWR)


def test_half_a_file_is_none(run):
    (run / 'a').write_text('old')
    with pytest.raises(KeyError), whole_file(run / 'a') as file:
        file.write(b'half')
        raise KeyError
    assert (run / 'a').read_text() == 'old'
    assert [path.name for path in run.iterdir()] == ['a']


SECOND = """
import sys
from ftjax.io.files.lock import run_lock
with run_lock(sys.argv[1]):
    print('held')
"""


def second_start(folder):
    return subprocess.run(
        [sys.executable, '-c', SECOND, str(folder)], capture_output=True, text=True, timeout=60
    )


def test_a_removed_lock_file_lets_no_second_run_in(run):
    with run_lock(run):
        (run / NAME).unlink()
        done = second_start(run)
        assert 'is in use by another process' in done.stderr
        assert 'held' not in done.stdout
        write_json(run / 'result.json', 1)  # the first goes on


def test_a_folder_that_another_run_took_is_not_written_to(run, tmp_path):
    with run_lock(run), JsonLines(run / 'metrics.jsonl') as log:
        log.append({'step': 1})
        os.rename(run, tmp_path / 'away')
        run.mkdir()
        assert 'held' in second_start(run).stdout
        with pytest.raises(UserError, match='removed or replaced while it was going'):
            write_json(run / 'result.json', 1)
        with pytest.raises(UserError, match='stops before it writes more'):
            log.append({'step': 2})
    assert list(run.iterdir()) == []


@pytest.mark.parametrize('how', ['removed', 'another file', 'another process'])
def test_without_kernel_locks_the_owner_notices_too(run, monkeypatch, caplog, how):
    fcntl = pytest.importorskip('fcntl')

    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, 'Operation not supported')

    monkeypatch.setattr(fcntl, 'flock', unsupported)
    monkeypatch.setattr(lock, 'HEARTBEAT', 0.01)
    with run_lock(run):
        write_json(run / 'a.json', 1)
        text = (run / NAME).read_text()
        if how == 'another process':
            (run / NAME).write_text(text.replace('token": "', 'token": "x'))
        else:
            (run / NAME).unlink()
        if how == 'another file':
            (run / NAME).write_text(text)
        with pytest.raises(UserError, match=f'{how}.*while it was going'):
            write_json(run / 'b.json', 1)
        for _ in range(500):
            if how in caplog.text:
                break
            lock.time.sleep(0.01)
    assert 'this run stops at its next write' in caplog.text
    assert not (run / 'b.json').exists()


def test_a_run_whose_folder_is_taken_in_the_middle_ends_in_one_line(
    run, tmp_path, prepared, monkeypatch
):
    from ftjax.training.loop.run_state import RunState

    record = RunState.record

    def taken(self, *arguments):
        record(self, *arguments)
        if len(self.history) == 1:
            shutil.copytree(run, tmp_path / 'copy')
            os.rename(run, tmp_path / 'away')
            os.rename(tmp_path / 'copy', run)

    monkeypatch.setattr(RunState, 'record', taken)
    with pytest.raises(UserError, match='no longer held by this run'):
        train(prepared, run, progress=False)
    before = sorted(path.name for path in pathlib.Path(tmp_path / 'away').iterdir())
    assert 'result.json' not in before
    assert not (run / 'result.json').exists()
