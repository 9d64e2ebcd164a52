"""Kills and damages tiny training runs, goes on with each, and compares the ends bit for bit.

    python scripts/reliability.py --workdir=runs/reliability

Child processes run scripts/train.py (the last case: scripts/ablate.py) on configs/reliability.py.
Each is killed (SIGKILL, SIGTERM) at random moments until its share of the kills is used up, then
finishes; weights, metrics.jsonl, plan.json and result.json (clock fields aside) must equal those
of a run that was left alone. Then interrupted runs have a checkpoint or their metrics file damaged
before they go on; disks are full, folders closed; and files and strings of every kind that comes
from outside are changed at random and read. Writes table.json (a list of {case, tried,
lost, ..}) and table.md to --results.

Rows are kept in WORKDIR/rows.json as they come: the same command goes on after those there are
without a loss, and --only=lp_ft,disk makes those alone whose name holds one of the words. Some
15 minutes on two quiet cores.
"""

import concurrent.futures
import os
import pathlib
import random
import shutil
import signal
import threading
from typing import Any

from absl import flags

from ftjax.cli import launch

WORKDIR = launch.define_workdir()
RESULTS = flags.DEFINE_string('results', 'results/reliability', 'Folder of the tables.')
KILLS = flags.DEFINE_integer('kills', 20, 'Processes ended by SIGKILL, of each case.', 0)
TERMS = flags.DEFINE_integer('terms', 3, 'Processes ended by SIGTERM, of each of FIRST.', 0)
DAMAGES = flags.DEFINE_integer('damages', 30, 'Runs that go on after something is damaged.', 0)
INPUTS = flags.DEFINE_integer('inputs', 20_000, 'Hostile files and strings that are read.', 0)
SEED = flags.DEFINE_integer('seed', 0, 'Of the random moments, damages and inputs.', 0)
WORKERS = flags.DEFINE_integer('workers', 2, 'Rows made at a time.', 1)
ONLY = flags.DEFINE_list('only', [], 'Words: rows whose name holds one of them; all if none.')

FIRST = ('plain', 'gradual', 'lisa', 'cached')
CASES = (
    *FIRST,
    *('lp_ft', 'auto_rgn', 'subtuning', 'soup', 'ema_accumulate', 'lora', 'mixout', 'freezeout'),
    *('badly_timed', 'cached_files', 'texts', 'vectorised'),
)
TEXTS = 120


class Rows:
    """The rows there are, on disk after each."""

    def __init__(self, path):
        from ftjax.io.files.atomic import read_json, write_json

        self.path, self.write, self.lock = path, write_json, threading.Lock()
        self.found = read_json(path) if path.exists() else {}

    def make(self, name, function):
        """Makes a row, or several, unless they are there without a loss."""
        if all(word not in name for word in ONLY.value or ['']):
            return
        if any(row['lost'] for row in self.found.get(name, [{'lost': 1}])):
            try:
                rows = function()
            except (RuntimeError, TimeoutError, OSError) as error:
                rows = {'case': name, 'tried': 0, 'lost': 1, 'what': [str(error)]}
            rows = rows if isinstance(rows, list) else [rows]
            with self.lock:
                self.found[name] = rows
                self.write(self.path, self.found)
        for row in self.found[name]:
            print(f'{row["case"]}: {row["lost"]} of {row["tried"]} lost', flush=True)


def markdown(rows):
    lines = ['| case | tried | lost | notes |', '|---|---|---|---|']
    for row in rows:
        notes = []
        if 'runs' in row:
            codes = ', '.join(map(str, row['exit_codes']))
            notes.append(f'{row["runs"]} runs, exit codes {codes}')
            notes.append(f'slowest end {row["slowest_end_seconds"]} s')
        if 'refused' in row:
            notes.append(f'{row["refused"]} refused in one line, {row["accepted"]} accepted')
        lines.append(f'| {row["case"]} | {row["tried"]} | {row["lost"]} | {"; ".join(notes)} |')
    return '\n'.join(lines) + '\n'


def write_texts(folder):
    """A table of made-up sentences of many lengths, whose label is in their words."""
    draw, words = (
        random.Random(0),
        [
            'the',
            'a',
            'file',
            'is',
            'read',
            'open',
            'write',
            'text',
            'line',
            'value',
            'of',
            'and',
            'to',
        ],
    )
    lines = ['text,label']
    for number in range(TEXTS):
        said = [draw.choice(words) for _ in range(draw.randint(3, 60))]
        said[draw.randrange(len(said))] = ('list', 'error')[number % 2]
        lines.append(f'{" ".join(said)},{("list", "error")[number % 2]}')
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'texts.csv').write_text('\n'.join(lines) + '\n')


def main():
    import fuzzing
    from faults import disks
    from faults.damages import DAMAGE, damaged
    from faults.ends import end_of, finished
    from faults.interruptions import halfway, interrupted, second_starts
    from faults.processes import Server

    from ftjax.io.files.atomic import write_json, write_text
    from ftjax.io.process.provenance import provenance

    folder = pathlib.Path(WORKDIR.value).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    write_texts(folder / 'data')
    programs = os.environ.get('JAX_COMPILATION_CACHE_DIR') or str(folder / 'programs')
    env = {
        'JAX_COMPILATION_CACHE_DIR': programs,
        'FTJAX_CACHE': str(folder / 'cache'),
        'FTJAX_DATA': str(folder / 'data'),
    }
    rows, expected, guards = Rows(folder / 'rows.json'), {}, {c: threading.Lock() for c in CASES}

    def end(case, server):
        """What a run of a case ends with that is left alone."""
        with guards[case]:
            if case not in expected:
                run = folder / f'{case}-alone'
                if not finished(run):
                    server.finish(case, run)
                expected[case] = end_of(run)
            return expected[case]

    def twice(case):
        with Server(env) as server:
            run = folder / f'{case}-alone-again'  # a warm cache of programs changes nothing
            shutil.rmtree(run, ignore_errors=True)
            server.finish(case, run)
            same = end_of(run) == end(case, server)
        return {'case': f'the same run twice, {case}', 'tried': 1, 'lost': int(not same)}

    def ended(signum, case, count):
        # A cache of its own, so that killed runs make their features and tokens too.
        own = {**env, 'FTJAX_CACHE': str(folder / f'cache-{case}')}
        draw = random.Random(f'{SEED.value} {signum} {case}')
        with Server(own) as server:
            return interrupted(server, case, folder, signum, count, end(case, server), draw)

    def after_damage():
        with Server(env) as server:
            sources = {case: halfway(server, case, folder) for case in ('plain', 'gradual')}
            ends = {case: end(case, server) for case in sources}
            made = []
            for number, how in enumerate(DAMAGE):
                count = DAMAGES.value // len(DAMAGE) + (number < DAMAGES.value % len(DAMAGE))
                draw = random.Random(f'{SEED.value} {how}')
                if count:
                    made.append(damaged(server, sources, folder, how, count, ends, draw))
        return made

    def second():
        with Server(env) as server:
            return second_starts(server, 'plain', folder, 3)

    def ends_of(*cases):
        with Server(env) as server:
            return {case: end(case, server) for case in cases}

    tasks: dict[str, Any] = {f'twice {case}': lambda case=case: twice(case) for case in CASES}
    kinds = ((signal.SIGKILL, KILLS.value, CASES), (signal.SIGTERM, TERMS.value, FIRST))
    for signum, count, cases in kinds:
        for case in cases if count else ():
            name = f'{signum.name} {count} {case}'
            tasks[name] = lambda s=signum, c=case, n=count: ended(s, c, n)
    tasks['second start'] = second
    if DAMAGES.value:
        tasks[f'damage {DAMAGES.value}'] = after_damage
    tasks['disk full, features'] = lambda: disks.full_feature_cache(
        env, folder, ends_of('cached_files')['cached_files']
    )
    tasks['disk full, tokens'] = lambda: disks.full_token_cache(
        env, folder, ends_of('texts')['texts']
    )
    tasks['permission denied'] = lambda: disks.denied(
        env, folder, ends_of('plain', 'cached_files', 'texts')
    )
    if INPUTS.value:
        tasks[f'inputs {INPUTS.value}'] = lambda: fuzzing.rows(
            INPUTS.value, folder / 'inputs', SEED.value
        )
    with concurrent.futures.ThreadPoolExecutor(WORKERS.value) as pool:
        jobs = [pool.submit(rows.make, name, function) for name, function in tasks.items()]
        for job in jobs:
            job.result()
    found = [row for name in tasks for row in rows.found.get(name, [])]
    results = pathlib.Path(RESULTS.value)
    write_json(results / 'table.json', found)
    write_json(results / 'provenance.json', provenance(seed=SEED.value))
    about = (__doc__ or '').strip().split('\n\n')
    text = ['# Reliability', about[0], about[2], '`python scripts/reliability.py`', markdown(found)]
    write_text(results / 'table.md', '\n\n'.join(text))
    print(markdown(found))
    if any(row['lost'] for row in found):
        raise RuntimeError('something was lost; see the table')


if __name__ == '__main__':
    launch.run(main)
