"""Rows on disks that are full and folders that cannot be written to.

A full disk is a small tmpfs, mounted for the run's processes alone; that needs root, or user
namespaces. Permissions are denied to root too once it lacks the right to override them.
"""

import os
import shutil
import subprocess

from faults.ends import end_of, finished
from faults.interruptions import halfway
from faults.processes import Server, said

RIGHTS = '-dac_override,-dac_read_search,-fowner'


def small_disk(env, place, kilobytes):
    """A server whose processes see a full disk soon at `place`; None where that cannot be."""
    place.mkdir(parents=True, exist_ok=True)
    unshare = ['unshare', '-m'] if os.geteuid() == 0 else ['unshare', '-rm']
    mount = f'mount -t tmpfs -o size={kilobytes}k tmpfs "$0" && exec "$@"'
    before = [*unshare, 'sh', '-c', mount, str(place)]
    if subprocess.run([*before, 'true'], capture_output=True, check=False).returncode:
        return None
    return Server(env, before)


def ordinary_user(env):
    """A server whose processes have no right to override permissions; None where none can be."""
    if os.geteuid():
        return Server(env)
    before = ['setpriv', f'--bounding-set={RIGHTS}', f'--inh-caps={RIGHTS}']
    try:
        subprocess.run([*before, 'true'], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return Server(env, before)


def refused(server, case, run, words):
    """Whether a start ends in one line that holds `words`, exit code 2 or 3."""
    with open(f'{run}.log', 'w'):
        pass
    status = server.start(case, run).wait()
    errors = [line for line in said(run).splitlines() if line.startswith('error: ')]
    return status in (2, 3) and len(errors) == 1 and words in errors[0] and not finished(run)


def full_feature_cache(env, folder, expected):
    """A row: features in files on a full disk, then with room again."""
    disk, run = folder / 'small-disk', folder / 'cached_files-full-disk'
    shutil.rmtree(run, ignore_errors=True)
    server = small_disk({**env, 'FTJAX_CACHE': str(disk)}, disk, 16)
    row = {'case': 'disk full, features in files', 'tried': 1, 'lost': 0}
    if server is None:
        return {**row, 'tried': 0, 'what': ['no small disk can be mounted here']}
    with server:
        good = refused(server, 'cached_files', run, 'No space left on device')
        left = server.ask(call=['sh', '-c', f'test -z "$(ls -A {disk}/features)"'])['status']
        server.ask(call=['mount', '-o', 'remount,size=64m', str(disk)])
        server.finish('cached_files', run)
    row['lost'] = int(not good or left != 0 or end_of(run) != expected)
    return row


def full_token_cache(env, folder, expected):
    """A row: tokens that find no room are not kept, and the run is the same."""
    disk, run = folder / 'small-disk-tokens', folder / 'texts-full-disk'
    shutil.rmtree(run, ignore_errors=True)
    run.with_suffix('.log').unlink(missing_ok=True)
    server = small_disk({**env, 'FTJAX_CACHE': str(disk)}, disk, 8)
    row = {'case': 'disk full, token cache', 'tried': 1, 'lost': 0}
    if server is None:
        return {**row, 'tried': 0, 'what': ['no small disk can be mounted here']}
    with server:
        server.finish('texts', run)
        half = f'ls -A {disk}/tokens | grep -qv "^[0-9a-f]*.npz$"'  # a smaller split may fit
        left = server.ask(call=['sh', '-c', f'! {{ {half}; }}'])['status']
    told = 'tokens are not kept' in said(run, None) and 'No space left' in said(run, None)
    row['lost'] = int(not told or left != 0 or end_of(run) != expected)
    return row


def denied(env, folder, expected):
    """A row: what an ordinary user may not write is refused in one line, and nothing is lost."""
    row = {'case': 'permission denied, ordinary user', 'tried': 0, 'lost': 0, 'what': []}
    closed = folder / 'closed'
    cache = closed / 'cache'
    shutil.rmtree(closed, ignore_errors=True)
    cache.mkdir(parents=True)

    def note(what, good):
        row['tried'] += 1
        row['lost'] += not good
        row['what'].append(f'{what}: {"as it should be" if good else "LOST"}')

    server = ordinary_user({**env, 'FTJAX_CACHE': str(cache)})
    if server is None:
        return {**row, 'what': ['permissions cannot be denied to root here']}
    with server:
        run = closed / 'plain-in-closed'
        closed.chmod(0o500)
        server_log = folder / 'plain-in-closed'
        note('folder of runs', refused_in(server, 'plain', run, server_log, 'Permission denied'))
        closed.chmod(0o700)
        for what in ('checkpoints', 'metrics.jsonl', '.'):
            run = halfway(server, 'plain', folder, f'denied-{what.strip(".") or "run"}')
            mode = (run / what).stat().st_mode
            (run / what).chmod(0o400 if (run / what).is_file() else 0o500)
            good = refused(server, 'plain', run, 'Permission denied')
            (run / what).chmod(mode)
            server.finish('plain', run)
            note(f'{what} of an interrupted run', good and end_of(run) == expected['plain'])
        cache.chmod(0o500)
        run = folder / 'cached_files-denied'
        shutil.rmtree(run, ignore_errors=True)
        good = refused(server, 'cached_files', run, 'Permission denied')
        texts = folder / 'texts-denied'
        shutil.rmtree(texts, ignore_errors=True)
        server.finish('texts', texts)
        cache.chmod(0o700)
        server.finish('cached_files', run)
        note('folder of features', good and end_of(run) == expected['cached_files'])
        note('folder of tokens', end_of(texts) == expected['texts'])
    return row


def refused_in(server, case, run, log, words):
    """As `refused`, for a run whose log cannot stand beside it."""
    command = ['scripts/train.py', f'--config=configs/reliability.py:{case}', f'--workdir={run}']
    with open(f'{log}.log', 'w'):
        pass
    from faults.processes import Child

    status = Child(server, server.ask(start=command, log=f'{log}.log', env={})['pid']).wait()
    errors = [line for line in said(log).splitlines() if line.startswith('error: ')]
    return status in (2, 3) and len(errors) == 1 and words in errors[0] and not run.exists()
