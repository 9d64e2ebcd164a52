"""Rows on runs that are ended by a signal at random moments, and then go on."""

import contextlib
import pathlib
import shutil
import signal
import time

from faults.ends import end_of, finished, progress_of


def end_at_random(server, case, folder, signum, draw):
    """Sends a signal at a random moment; (exit code, None if it had ended, seconds to end).

    A fifth of the moments lie anywhere from the start of the process, the others shortly after
    it has written a row: between that and some validations later, steps and half-written
    checkpoints included.
    """
    process, before = server.start(case, folder), progress_of(folder)
    end = time.monotonic() + (draw.uniform(0, 4) if draw.random() < 0.2 else 120)
    while process.poll() is None and progress_of(folder) == before and time.monotonic() < end:
        time.sleep(0.005)
    end = time.monotonic() + draw.uniform(0, 0.6)
    while time.monotonic() < end:
        if process.poll() is not None:
            return None, 0.0
        time.sleep(0.005)
    process.send_signal(signum)
    sent = time.monotonic()
    return process.wait(120), time.monotonic() - sent


def interrupted(server, case, folder, signum, count, expected, draw):
    """Runs that are ended `count` times in all by a signal: a row of the table."""
    name = signal.Signals(signum).name
    ended, runs, equal, statuses, slowest = 0, 0, 0, set(), 0.0
    while ended < count:
        run = folder / f'{case}-{name}-{runs}'
        shutil.rmtree(run, ignore_errors=True)
        runs += 1
        for _ in range(12):
            if ended == count:
                break
            status, seconds = end_at_random(server, case, run, signum, draw)
            if status is None or status == 0:
                break
            ended, slowest = ended + 1, max(slowest, seconds)
            statuses.add(status)
        if not finished(run):
            server.finish(case, run)
        equal += end_of(run) == expected
    return {
        'case': f'{name} at a random moment, {case} run',
        'tried': ended,
        'lost': runs - equal,
        'runs': runs,
        'exit_codes': sorted(statuses),
        'slowest_end_seconds': round(slowest, 2),
    }


def halfway(server, case, folder, name='halfway'):
    """A run stopped in its second half, with several checkpoints."""
    for attempt in range(20):
        run = folder / f'{case}-{name}-{attempt}'
        shutil.rmtree(run, ignore_errors=True)
        process = server.start(case, run)
        while process.poll() is None:
            rows = (run / 'metrics.jsonl').read_bytes() if progress_of(run) > 0 else b''
            if rows.count(b'\n') >= 5:
                process.send_signal(signal.SIGTERM)
                process.wait(120)
                break
            time.sleep(0.01)
        if not finished(run):
            return run
    raise RuntimeError(f'{case} always ended before it could be stopped')


def second_starts(server, case, folder, count):
    """Rows on starts in a folder that another process holds, with its lock file and without."""
    rows = []
    for removed in (False, True):
        run, refused = folder / f'{case}-second-{removed:d}', 0
        shutil.rmtree(run, ignore_errors=True)
        first = server.start(case, run)
        while not (run / 'config.json').exists() and first.poll() is None:
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # so that it holds the folder for as long as is needed
        if removed:
            with contextlib.suppress(OSError):
                (run / '.lock').unlink()
        who = 'another process' if removed else f'process {first.pid} on '
        for _ in range(count):
            log = pathlib.Path(f'{run}.log')
            log.write_text('')
            status = server.start(case, run).wait(120)
            refused += status == 2 and f'in use by {who}' in log.read_text()
        first.send_signal(signal.SIGCONT)
        ended = first.wait()
        rows.append(
            {
                'case': f'second start in the same folder{", its .lock removed" * removed}',
                'tried': count,
                'lost': count - refused + (ended != 0),
            }
        )
    return rows
