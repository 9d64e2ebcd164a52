"""The tests marked `gpu`, in a process of their own, and what they said."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

from benchmarks.device.report import Section

KINDS = {'.': 'passed', 'F': 'failed', 'E': 'error', 's': 'skipped'}
ROOT = pathlib.Path(__file__).resolve().parents[3]
FEW = 'vit-bfloat16 or llama-bfloat16 or resnet-float32 or (equals and vit) or bias or bits'
"""Of the tests, one of each kind: what a rehearsal runs."""


def run(section: Section, tiny: bool) -> None:
    """Runs them, or a few; a row for what passed and one for each that failed."""
    folder = ROOT / 'tests' / 'device'
    command = [sys.executable, '-m', 'pytest', '-q', '--maxfail=20', str(folder)]
    command += ['-m', 'gpu', '-p', 'no:cacheprovider', '--durations=5', '-rfE']
    if tiny:
        command += ['-k', FEW]
    if importlib.util.find_spec('xdist'):  # most of the time is compilation, on one core each
        command += ['-n', str(min(12, os.cpu_count() or 1))]
    # The tests run on a CPU where nothing else is said.
    environment = {**os.environ, 'JAX_PLATFORMS': os.environ.get('JAX_PLATFORMS', 'cuda,cpu')}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=max(section.left, 5),
        )
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b'').decode(errors='replace') + '\nout of time'
    counts = {
        kind: int(n) for n, kind in re.findall(r'(\d+) (passed|failed|skipped|error)', output)
    }
    if not counts:  # out of time before the last line: what the lines of progress say
        marks = ''.join(re.findall(r'(?m)^[.sFEx]+(?= *(?:\[ *\d+%\])?$)', output))
        counts = {kind: marks.count(mark) for mark, kind in KINDS.items() if mark in marks}
        section.leave_out('the other tests', f'out of time after {section.seconds:.0f} s')
    section.note(output=output[-6000:])
    section.row(row='tests marked gpu', kind='tests', **counts)
    for name, why in re.findall(r'(?m)^(?:FAILED|ERROR) (\S+)(?: - (.*))?$', output):
        section.row(row=name, kind='failed', why=why)
