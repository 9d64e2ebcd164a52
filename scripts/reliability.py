"""Kills and damages tiny training runs, goes on with each, and compares the ends bit for bit.

    python scripts/reliability.py --workdir=runs/reliability

Child processes run scripts/train.py on configs/reliability.py. Each is killed (SIGKILL, SIGTERM)
at random moments until its share of the kills is used up, then finishes; weights, metrics.jsonl,
plan.json and result.json (clock fields aside) must equal those of a run that was left alone.
Then interrupted runs have a checkpoint or their metrics file damaged before they go on. Writes
table.json (a list of {case, tried, lost, ..}) and table.md to --results. About ten minutes.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

from absl import flags

from ftjax import launch

WORKDIR = launch.define_workdir()
RESULTS = flags.DEFINE_string('results', 'results/reliability', 'Folder of the tables.')
KILLS = flags.DEFINE_integer('kills', 50, 'Processes ended by SIGKILL, over all cases.')
TERMS = flags.DEFINE_integer('terms', 12, 'Processes ended by SIGTERM, over all cases.')
DAMAGES = flags.DEFINE_integer('damages', 30, 'Runs that go on after something is damaged.')
SEED = flags.DEFINE_integer('seed', 0, 'Of the random moments and damages.')

ROOT = pathlib.Path(__file__).resolve().parents[1]
CASES = ('plain', 'gradual', 'lisa', 'cached')
CLOCK = {
    *('wall_seconds', 'compile_seconds', 'step_seconds_median', 'stage_seconds'),
    *('peak_memory_bytes', 'device_peak_bytes', 'provenance'),
}
DAMAGE = ('one bit', 'ten bits', 'truncated', 'emptied', 'deleted', 'half-written folder')


def start(case, folder):
    """A child process that trains; its output goes to a file beside the folder."""
    command = [sys.executable, 'scripts/train.py', f'--workdir={folder}']
    with open(f'{folder}.log', 'ab') as log:
        return subprocess.Popen(
            [*command, f'--config=configs/reliability.py:{case}'],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
        )


def finish(case, folder):
    """Lets a run come to its end; RuntimeError if it does not."""
    process = start(case, folder)
    if process.wait(timeout=300):
        tail = pathlib.Path(f'{folder}.log').read_text()[-2000:]
        raise RuntimeError(f'{case} in {folder} ended with {process.returncode}:\n{tail}')


def end_of(folder):
    """What a run ended with: hashes of files, and result.json without its clock."""
    files = ('model/model.safetensors', 'metrics.jsonl', 'plan.json', 'config.json')
    found = {f: hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in files}
    result = json.loads((folder / 'result.json').read_text())
    result['phases'] = [without_clock(phase) for phase in result['phases']]
    return {**found, 'result': without_clock(result)}


def without_clock(fields):
    return {name: value for name, value in fields.items() if name not in CLOCK}


def progress_of(folder):
    with contextlib.suppress(OSError):
        return (folder / 'metrics.jsonl').stat().st_size
    return -1


def end_at_random(case, folder, signum, draw):
    """Sends a signal at a random moment; (exit code or None if it had ended, seconds to end).

    A fifth of the moments lie anywhere from the start of the process, the others shortly after
    it has written a row of metrics: between that and some validations later, steps and
    half-written checkpoints included.
    """
    process, before = start(case, folder), progress_of(folder)
    end = time.monotonic() + (draw.uniform(0, 6) if draw.random() < 0.2 else 120)
    while process.poll() is None and progress_of(folder) == before and time.monotonic() < end:
        time.sleep(0.005)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=draw.uniform(0, 0.6))
        return None, 0.0
    process.send_signal(signum)
    sent = time.monotonic()
    return process.wait(timeout=120), time.monotonic() - sent


def interrupted(case, folder, signum, count, expected, draw):
    """Runs that are ended `count` times in all by a signal: a row of the table."""
    ended, runs, equal, statuses, slowest = 0, 0, 0, set(), 0.0
    while ended < count:
        run = folder / f'{case}-{signal.Signals(signum).name}-{runs}'
        runs += 1
        for _ in range(12):
            if ended == count:
                break
            status, seconds = end_at_random(case, run, signum, draw)
            if status is None or status == 0:
                break
            ended, slowest = ended + 1, max(slowest, seconds)
            statuses.add(status)
        if not (run / 'result.json').exists():
            finish(case, run)
        equal += end_of(run) == expected
        print(f'{case}: {ended} of {count} {signal.Signals(signum).name}, {runs} runs', flush=True)
    return {
        'case': f'{signal.Signals(signum).name} at a random moment, {case} run',
        'tried': ended,
        'lost': runs - equal,
        'runs': runs,
        'exit_codes': sorted(statuses),
        'slowest_end_seconds': round(slowest, 2),
    }


def damage(folder, how, draw):
    """Damages a run that was interrupted; returns what was done."""
    steps = sorted(int(p.name) for p in (folder / 'checkpoints').iterdir() if p.name.isdecimal())
    step = steps[-1] if draw.random() < 0.6 else draw.choice(steps)
    place = folder / 'checkpoints' / str(step)
    if how == 'half-written folder':
        shutil.copytree(place, place.with_name(f'{step + 1}.orbax-checkpoint-tmp'))
        (place.with_name(f'{step + 1}.orbax-checkpoint-tmp') / 'manifest' / 'metadata').unlink()
        return f'checkpoint {step + 1} half written'
    files = sorted(path for path in place.rglob('*') if path.is_file() and path.stat().st_size)
    path = folder / 'metrics.jsonl' if draw.random() < 0.1 else draw.choice(files)
    data = bytearray(path.read_bytes())
    if how == 'deleted':
        path.unlink()
    else:
        if how in ('truncated', 'emptied'):
            data = data[: draw.randrange(len(data)) if how == 'truncated' else 0]
        for _ in range({'one bit': 1, 'ten bits': 10}.get(how, 0)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
    return f'{path.relative_to(folder)} {how} (checkpoints {steps})'


def damaged(sources, folder, count, expected, draw):
    """Rows on runs that go on after a damage, in this process: {how: row}."""
    from ftjax.config import read_config
    from ftjax.preparation import prepare
    from ftjax.run import train
    from ftjax.training.atomic import read_json

    ready = {c: prepare(read_config(read_json(s / 'config.json'))) for c, s in sources.items()}
    rows = {}
    for number in range(count):
        how, case = DAMAGE[number % len(DAMAGE)], draw.choice(list(sources))
        run = folder / f'damaged-{number}'
        shutil.copytree(sources[case], run)
        what = damage(run, how, draw)
        train(ready[case], run, progress=False)
        same = end_of(run) == expected[case]
        row = rows.setdefault(how, {'case': f'damage: {how}', 'tried': 0, 'lost': 0, 'what': []})
        row['tried'] += 1
        row['lost'] += not same
        row['what'].append(f'{case}: {what}')
        print(f'{number + 1} of {count}: {case}: {what}: {"same" if same else "LOST"}', flush=True)
    return list(rows.values())


def halfway(case, folder, draw):
    """A run stopped in its second half, with several checkpoints."""
    for attempt in range(20):
        run = folder / f'{case}-halfway-{attempt}'
        process = start(case, run)
        while process.poll() is None:
            rows = (run / 'metrics.jsonl').read_bytes() if progress_of(run) > 0 else b''
            if rows.count(b'\n') >= 5:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=120)
                break
            time.sleep(0.01)
        if not (run / 'result.json').exists():
            return run
    raise RuntimeError(f'{case} always ended before it could be stopped')


def second_starts(case, folder, count):
    """A row on starts in a folder that another process holds."""
    run, refused = folder / f'{case}-second', 0
    first = start(case, run)
    while not (run / '.lock').exists() and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # so that it holds the folder for as long as is needed
    for _ in range(count):
        log = pathlib.Path(f'{run}.log')
        log.write_text('')
        status = start(case, run).wait(timeout=120)
        refused += status == 2 and f'in use by process {first.pid} on ' in log.read_text()
    first.send_signal(signal.SIGCONT)
    ended = first.wait(timeout=300)
    return {
        'case': 'second start in the same folder',
        'tried': count,
        'lost': count - refused + (ended != 0),
    }


def markdown(rows):
    lines = ['| case | tried | lost | notes |', '|---|---|---|---|']
    for row in rows:
        notes = []
        if 'runs' in row:
            codes = ', '.join(map(str, row['exit_codes']))
            notes.append(f'{row["runs"]} runs, exit codes {codes}')
            notes.append(f'slowest end {row["slowest_end_seconds"]} s')
        lines.append(f'| {row["case"]} | {row["tried"]} | {row["lost"]} | {"; ".join(notes)} |')
    return '\n'.join(lines) + '\n'


def main():
    from ftjax.training.atomic import write_json, write_text
    from ftjax.training.provenance import provenance

    folder, draw = pathlib.Path(WORKDIR.value).absolute(), random.Random(SEED.value)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    expected, rows = {}, []
    for case in CASES:
        for name in ('alone', 'alone-again'):  # a warm cache of programs changes nothing
            finish(case, folder / f'{case}-{name}')
        expected[case] = end_of(folder / f'{case}-alone')
        same = end_of(folder / f'{case}-alone-again') == expected[case]
        rows.append({'case': f'the same run twice, {case}', 'tried': 1, 'lost': int(not same)})
    for signum, count in ((signal.SIGKILL, KILLS.value), (signal.SIGTERM, TERMS.value)):
        for number, case in enumerate(CASES):
            share = count // len(CASES) + (number < count % len(CASES))
            if share:
                rows.append(interrupted(case, folder, signum, share, expected[case], draw))
    rows.append(second_starts('plain', folder, 3))
    sources = {case: halfway(case, folder, draw) for case in ('plain', 'gradual')}
    rows += damaged(sources, folder, DAMAGES.value, expected, draw)
    results = pathlib.Path(RESULTS.value)
    write_json(results / 'table.json', rows)
    write_json(results / 'provenance.json', provenance(seed=SEED.value))
    about = (__doc__ or '').strip().split('\n\n')
    text = ['# Reliability', about[0], about[2], '`python scripts/reliability.py`', markdown(rows)]
    write_text(results / 'table.md', '\n\n'.join(text))
    print(markdown(rows))
    if any(row['lost'] for row in rows):
        raise RuntimeError('something was lost; see the table')


if __name__ == '__main__':
    launch.run(main)
