"""Runs the sections of the device suite in order of worth, each in a process of its own.

    bash scripts/device_suite.sh OUT          # sets the environment, then calls this
    python scripts/device_suite.py --out=OUT --tiny

A section that fails or is out of time leaves the rows that it has; the others run all the same.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

from absl import flags

from ftjax.cli import launch

OUT = flags.DEFINE_string('out', None, 'Folder that results go to.', required=True)
TINY = flags.DEFINE_bool('tiny', False, 'Tiny sizes: a rehearsal, also on a CPU.')
LIMIT = flags.DEFINE_float('limit', 520.0, 'Seconds that all sections may take together.')
SECTIONS = flags.DEFINE_list('sections', None, 'Which sections; all if not given.')
MOST = {
    'smoke': 110,
    'vision_steps': 110,
    'vision_frozen': 110,
    'language_steps': 110,
    'resnet_steps': 80,
    'stored_features': 50,
    'jpeg_input': 60,
    'compiler_flags': 110,
}
"""Section -> most seconds; a module of scripts/benchmarks/device with `run(section, tiny)`.

A rehearsal is held to `--limit` alone: a busy CPU compiles for minutes.
"""
CODE = """
import importlib, pathlib, sys
from benchmarks.device.report import Section
from ftjax.xla.compilation_cache import enable_compilation_cache
name, out, left, tiny = sys.argv[1:]
enable_compilation_cache()
section = Section(name, pathlib.Path(out), float(left))
importlib.import_module('benchmarks.device.' + name).run(section, tiny == 'tiny')
section.note(finished=True)
"""


def main():
    from ftjax.errors import check_name

    began = time.monotonic()
    out = pathlib.Path(OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    names = [check_name(name, MOST, 'section') for name in SECTIONS.value or MOST]
    # Ours and PyTorch's share the memory: neither may take most of it beforehand.
    environment = {**os.environ, 'XLA_PYTHON_CLIENT_PREALLOCATE': 'false', 'PYTHONUNBUFFERED': '1'}
    # torch.compile takes half a minute of one core for each: beside the tests, which are the
    # first section and are not timed.
    warming = warm(environment) if 'smoke' in names else []
    failed = []
    for name in names:
        left = LIMIT.value - (time.monotonic() - began)
        if not TINY.value:
            left = min(left, MOST[name])
        if left < 10:
            print(f'== {name}: no time left', flush=True)
            failed.append(name)
            continue
        print(f'== {name}: at most {left:.0f} s', flush=True)
        words = [name, str(out), str(left - 5), 'tiny' if TINY.value else 'full']
        try:
            done = subprocess.run(
                [sys.executable, '-c', CODE, *words], env=environment, timeout=left, check=False
            )
            ended = f'exit code {done.returncode}' if done.returncode else ''
        except subprocess.TimeoutExpired:
            ended = f'out of time after {left:.0f} s'
        if ended:
            failed.append(name)
            print(f'== {name}: {ended}', flush=True)
            note(out / f'{name}.json', ended)
        if name == 'smoke':
            finish(warming, 60.0)
        write_page(out)
    print(f'{time.monotonic() - began:.0f} s in all; results in {out}', flush=True)
    if failed:
        sys.exit(1)


def warm(environment):
    """Starts the processes that compile PyTorch's sides."""
    from benchmarks.device.warm_torch import NAMES

    words = ['tiny'] * TINY.value
    return [
        subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.device.warm_torch', name, *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in NAMES
    ]


def finish(processes, seconds):
    """Waits for processes so long, and ends those that are still there."""
    ends = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(0.1, ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
    print(f'== warmed: exit codes {[process.returncode for process in processes]}', flush=True)


def note(file, ended):
    """Says in a section's file how it ended."""
    found = json.loads(file.read_text('utf-8')) if file.exists() else {'rows': []}
    file.write_text(json.dumps({**found, 'ended': ended}, indent=1), encoding='utf-8')


def write_page(out):
    """Writes gpu.md and gpu.json of the sections that are there, in a process that has JAX."""
    subprocess.run(
        [sys.executable, '-m', 'benchmarks.device.page', str(out), *(['tiny'] * TINY.value)],
        check=False,
    )


if __name__ == '__main__':
    launch.run(main, sys.argv)
