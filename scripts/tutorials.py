"""Executes the tutorials, top to bottom, and writes them back with their outputs.

    python scripts/tutorials.py                        all of configs/tutorials
    python scripts/tutorials.py --only=01_freezing     one of them
    python scripts/tutorials.py --check                executes, and writes nothing

Each runs in a process of its own, in a temporary folder, on the CPU. A notebook whose cell fails,
writes to stderr, or shows a path of this machine is not written. What each took is told in seconds,
and in seconds of processors, which other work on the machine changes less. To change a tutorial,
edit the notebook, with Jupyter say, and run this. It needs `pip install 'ftjax[tutorials]'`.
"""

import pathlib
import resource
import time

from absl import flags

from ftjax.cli import launch

ONLY = flags.DEFINE_list('only', [], 'Names of tutorials; empty for all.')
CHECK = flags.DEFINE_bool('check', False, 'Execute, and write nothing.')


def main():
    from ftjax.cli.notebooks import cleaned, execute, faults, read_notebook, write_notebook
    from ftjax.errors import UserError, check_name

    folder = pathlib.Path(__file__).resolve().parents[1] / 'configs' / 'tutorials'
    there = {path.stem: path for path in sorted(folder.glob('*.ipynb'))}
    asked = ONLY.value or list(there)
    for name in asked:
        check_name(name, there, 'tutorial')
    for name in asked:
        begun, busy = time.monotonic(), _processor_seconds()
        made = cleaned(execute(read_notebook(there[name]), name))
        if not CHECK.value:
            write_notebook(there[name], made)
        elif found := list(faults(made)):
            raise UserError(f'{name}: {"; ".join(found)}')
        spent, busy = time.monotonic() - begun, _processor_seconds() - busy
        print(f'{name}: {spent:.0f} s, {busy:.0f} s of processors', flush=True)


def _processor_seconds() -> float:
    """Of all processes that this one has started, and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == '__main__':
    launch.run(main)
