"""A run's folder has one owner, who is named; a dead one's lock is taken over."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time

import pytest

from ftjax.errors import UserError
from ftjax.io.files import lock
from ftjax.io.files.lock import run_lock
from ftjax.io.files.lock_owner import NAME, boot

HOLD = """
import sys, time
from ftjax.io.files.lock import run_lock
with run_lock(sys.argv[1]):
    print('held', flush=True)
    sys.stdin.read()
"""


def holder(folder):
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'held\n'
    return process


def test_a_second_start_is_refused_and_the_owner_named_until_it_ends(tmp_path):
    process = holder(tmp_path)
    with pytest.raises(UserError) as caught, run_lock(tmp_path):
        pass
    assert f'in use by process {process.pid} on {platform.node()} since 20' in str(caught.value)
    assert '\n' not in str(caught.value)
    process.stdin.close()
    process.wait()
    assert not (tmp_path / NAME).exists()
    with run_lock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())['pid'] == os.getpid()
    process.stdout.close()


def test_the_lock_of_a_killed_process_is_taken_over_and_said(tmp_path, caplog):
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert (tmp_path / NAME).exists()
    with run_lock(tmp_path):
        pass
    assert f'process {process.pid}' in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_it_nests_in_a_process_and_is_released_by_an_error(tmp_path):
    with pytest.raises(KeyError), run_lock(tmp_path), run_lock(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_made_for_the_lock_alone_goes_with_it(tmp_path):
    with run_lock(tmp_path / 'run'):
        pass
    assert list(tmp_path.iterdir()) == []
    with run_lock(tmp_path / 'run'):
        (tmp_path / 'run' / 'config.json').write_text('{}')
    assert (tmp_path / 'run').is_dir()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='Not a directory'), run_lock(tmp_path / 'file' / 'run'):
        pass


@pytest.fixture
def no_flock(monkeypatch):
    fcntl = pytest.importorskip('fcntl')

    def unsupported(*_):
        raise OSError(errno.EOPNOTSUPP, 'Operation not supported')

    monkeypatch.setattr(fcntl, 'flock', unsupported)


@pytest.mark.parametrize('dead', [False, True])
def test_without_kernel_locks_the_process_named_decides(tmp_path, no_flock, dead):
    process = holder(tmp_path)
    if dead:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with run_lock(tmp_path):
            pass
    else:
        with pytest.raises(UserError, match=f'process {process.pid} on'), run_lock(tmp_path):
            pass
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_a_number_that_went_to_a_later_process_is_no_owner(tmp_path, no_flock):
    owner = {'pid': os.getpid(), 'host': platform.node(), 'since': 'x', 'started': '1'}
    (tmp_path / NAME).write_text(json.dumps(owner))
    with run_lock(tmp_path):
        pass


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lock, 'STALE', 0.5)
    monkeypatch.setattr(lock, 'LOOK', 0.02)


def elsewhere(folder, age=0.0, **more):
    path = folder / NAME
    path.write_text(json.dumps({'pid': 7, 'host': 'elsewhere', 'since': 'noon', **more}))
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize('age', [-1e6, 10.0, 1e6])
def test_an_owner_elsewhere_holds_it_while_it_gives_signs_of_life(tmp_path, quick, age):
    path = elsewhere(tmp_path, age)
    content, ended = path.read_bytes(), threading.Event()

    def touch():
        while not ended.wait(0.05):
            now = path.stat().st_mtime_ns  # by a clock that no one else has
            os.utime(path, ns=(now + 1, now + 1))

    beat = threading.Thread(target=touch)
    beat.start()
    try:
        with pytest.raises(UserError, match='7 on elsewhere since noon'), run_lock(tmp_path):
            pass
    finally:
        ended.set()
        beat.join()
    assert path.read_bytes() == content


@pytest.mark.parametrize('age', [-1e6, 10.0, 1e6])
def test_without_one_it_is_taken_over_whatever_the_clocks_say(tmp_path, quick, caplog, age):
    elsewhere(tmp_path, age)
    began = time.monotonic()
    with run_lock(tmp_path):
        assert time.monotonic() - began >= 0.5
    assert 'process 7 on elsewhere gave no sign of life for 0.5 s' in caplog.text


def test_an_owner_elsewhere_that_ends_meanwhile_is_not_waited_for(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(lock, 'STALE', 60.0)
    path = elsewhere(tmp_path)
    threading.Timer(0.2, path.unlink).start()
    with run_lock(tmp_path):
        assert json.loads(path.read_text())['pid'] == os.getpid()


def test_the_same_kernel_under_another_name_is_not_waited_for(tmp_path):
    elsewhere(tmp_path, boot=boot())  # a container that was started anew
    with run_lock(tmp_path):
        pass


def test_it_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, 'HEARTBEAT', 0.01)
    with run_lock(tmp_path):
        os.utime(tmp_path / NAME, (1, 1))
        end = time.monotonic() + 5
        while (tmp_path / NAME).stat().st_mtime < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert (tmp_path / NAME).stat().st_mtime > 2


def test_a_forked_child_does_not_keep_it(tmp_path):
    with run_lock(tmp_path):
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(0)
    try:
        with run_lock(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize('content', [b'', b'{', b'[1]', b'\xff', b'{"pid": "x", "host": 3}'])
def test_a_damaged_lock_file_does_not_stop_a_run(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    os.utime(tmp_path / NAME, (1, 1))
    with run_lock(tmp_path):
        pass
