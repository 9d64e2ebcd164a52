"""Where a number came from: versions, commit, command, machine, memory."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys

import jax

from ftjax.io.files.atomic import read_json, write_json, write_text
from ftjax.io.process.processor import instruction_set, processor_name

__all__ = [
    'command_line',
    'git_state',
    'host',
    'peak_memory',
    'provenance',
    'read_json',
    'script_command',
    'versions',
    'write_json',
    'write_text',
]

PACKAGES = (
    'ftjax',
    'jax',
    'jaxlib',
    'flax',
    'optax',
    'orbax-checkpoint',
    'numpy',
    'scipy',
    'scikit-learn',
    'grain',
    'pillow',
    'tokenizers',
    'tensorflow-datasets',
)
CODE = ('ftjax', 'scripts', 'configs', 'pyproject.toml')
_SOURCE = pathlib.Path(__file__).resolve().parents[3]


def provenance(**also: object) -> dict[str, object]:
    """What made a result, ready for JSON; `also` adds seeds, fingerprints and the like."""
    return {
        'created': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'command': command_line(),
        'versions': versions(),
        'git': git_state(),
        'host': host(),
        **also,
    }


def versions() -> dict[str, str]:
    """The Python version and that of every installed package in PACKAGES."""
    found = {'python': platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_state(root: str | os.PathLike[str] = _SOURCE) -> dict[str, object] | None:
    """The commit that the code runs from and whether code differs from it; None outside git.

    Only code (package, scripts, configs) can make it dirty: a run that writes results into
    the checkout does not.
    """
    root = pathlib.Path(root).resolve()
    top = _git(root, 'rev-parse', '--show-toplevel')
    # An installed copy may lie inside somebody else's repository: that is not our commit.
    if top is None or pathlib.Path(top).resolve() != root:
        return None
    commit = _git(root, 'rev-parse', 'HEAD')
    if commit is None:
        return None
    changed = _git(root, 'status', '--porcelain', '--', *CODE)
    return {'commit': commit, 'dirty': changed != ''}


def command_line() -> str:
    """The command that was typed, quoted for a shell, the script relative to the checkout."""
    script, arguments = (sys.argv or [''])[0], sys.argv[1:]
    path = pathlib.Path(script)
    if path.is_absolute():
        if _from_wheel(path):
            return shlex.join(['python', '-m', 'ftjax', path.stem, *arguments])
        path = path.relative_to(_SOURCE) if path.is_relative_to(_SOURCE) else path
        script = path.as_posix() if not path.is_absolute() else path.name
    return shlex.join(['python', script, *arguments] if script.endswith('.py') else sys.argv)


def script_command(name: str, *arguments: str) -> str:
    """The command of a script, quoted for a shell, called as this process was: from a wheel too.

    >>> script_command('train', '--workdir=my runs')
    "python scripts/train.py '--workdir=my runs'"
    """
    wheel = _from_wheel(pathlib.Path((sys.argv or [''])[0]))
    called = ('-m', 'ftjax', name) if wheel else (f'scripts/{name}.py',)
    return shlex.join(['python', *called, *arguments])


def _from_wheel(script: pathlib.Path) -> bool:
    """Whether a script is one that `python -m ftjax` calls: see ftjax/__main__.py."""
    return script.is_absolute() and script.parts[-3:-1] == ('shipped', 'scripts')


def host() -> dict[str, object]:
    """The machine: system, processor, cores this process may use, memory, devices."""
    devices = jax.devices()
    usable = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else None
    return {
        'system': f'{platform.system()} {platform.machine()}',
        'processor': processor_name(),
        'instructions': instruction_set(),
        'cores': len(usable) if usable else os.cpu_count(),
        'memory_bytes': _host_memory(),
        'backend': jax.default_backend(),
        'device_kind': devices[0].device_kind,
        'devices': len(devices),
        'processes': jax.process_count(),
    }


def peak_memory() -> dict[str, int | None]:
    """Highest memory so far, in bytes: of this process, and of the busiest device.

    `device_bytes` is None where the backend keeps no count (a CPU: it is host memory).
    """
    counts = [(device.memory_stats() or {}) for device in jax.local_devices()]
    peaks = [count['peak_bytes_in_use'] for count in counts if 'peak_bytes_in_use' in count]
    return {'host_bytes': _peak_host_bytes(), 'device_bytes': max(peaks, default=None)}


def device_peak() -> dict[str, int]:
    """`device_peak_bytes`, the highest device memory so far, for a row of metrics; {} on a CPU.

    There it is host memory, which no two runs share to the byte: result.json has it.
    """
    peak = peak_memory()['device_bytes']
    return {} if peak is None else {'device_peak_bytes': peak}


def _peak_host_bytes() -> int | None:
    try:  # ru_maxrss would begin at the peak of the process that started this one
        status = pathlib.Path('/proc/self/status').read_text()
        return 1024 * int(re.search(r'VmHWM:\s*(\d+) kB', status)[1])  # pyrefly: ignore
    except (OSError, TypeError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def _host_memory() -> int | None:
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, OSError, ValueError):
        return None


def _git(root: pathlib.Path, *arguments: str) -> str | None:
    # No optional locks: reading the state must never touch the index of the checkout.
    environment = {**os.environ, 'GIT_OPTIONAL_LOCKS': '0'}
    try:
        done = subprocess.run(
            ['git', '-C', os.fspath(root), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
