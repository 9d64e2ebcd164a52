"""Executes the tutorials, top to bottom, and writes them back with their outputs.

    python scripts/tutorials.py                        all of configs/tutorials
    python scripts/tutorials.py --only=01_freezing     one of them
    python scripts/tutorials.py --check                executes, and writes nothing

Each runs in a process of its own, in a temporary folder, on the CPU. A notebook whose cell fails,
writes to stderr, or shows a path of this machine is not written. To change a tutorial, edit the
notebook, with Jupyter say, and run this. It needs `pip install 'ftjax[tutorials]'`.
"""

import pathlib
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
        begun = time.monotonic()
        made = cleaned(execute(read_notebook(there[name]), name))
        if not CHECK.value:
            write_notebook(there[name], made)
        elif found := list(faults(made)):
            raise UserError(f'{name}: {"; ".join(found)}')
        print(f'{name}: {time.monotonic() - begun:.0f} s', flush=True)


if __name__ == '__main__':
    launch.run(main)
