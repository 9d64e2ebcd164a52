"""Writes the golden files of the parity tests: tests/pretrained/goldens/CASE/.

    python scripts/parity/make_parity_goldens.py [--only=vit,vit_odd]

Needs the parity extra (torch, transformers). A golden holds a tiny model with random weights
as its library saves it, inputs, the output of every stage and the gradient of a loss, so that
the default tests check parity without PyTorch. Existing goldens are replaced. Expect about
twenty folders of 30 to 300 kB, in a minute or two.
"""

from __future__ import annotations

import pathlib
import shutil
import sys

from absl import flags

from ftjax.cli import launch
from ftjax.errors import UserError, check_name

TESTS = pathlib.Path(__file__).resolve().parents[2] / 'tests' / 'pretrained'
LIMIT = 300_000
ONLY = flags.DEFINE_list('only', None, 'Names of cases; all that are committed if left out.')


def main() -> None:
    sys.path.insert(0, str(TESTS))
    from parity_cases import all_cases
    from parity_engine import GOLDENS, measure
    from parity_torch import write_reference

    cases = {name: case for name, case in all_cases().items() if case.golden}
    for name in ONLY.value or cases:
        case = cases[check_name(name, cases, 'golden case')]
        folder = GOLDENS / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_reference(case, folder)
        measure(folder).check()
        size = sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())
        print(f'{name:32} {size / 1000:6.0f} kB')
        if size > LIMIT:
            raise UserError(f'{folder} has {size} bytes, more than the {LIMIT} of a golden')


if __name__ == '__main__':
    launch.run(main)
