"""Prints what is in a checkpoint, reading its headers only.

    python scripts/inspect_checkpoint.py INIT [--model=NAME]

INIT is what `config.init` takes: a folder, a file, a run, 'glyphs', 'data:NAME' or
'hf://ORG/NAME[@REVISION]'; `--model` names the network, for a file that does not say. Printed
are the family, the stages with their parameters, the preprocessing, and the report that a
strict load would give; what a load would refuse is refused here, with the tensor's name.
"""

from __future__ import annotations

import functools
import sys

from absl import flags

from ftjax.cli import launch
from ftjax.cli.flag_parsing import words_apart
from ftjax.errors import UserError

MODEL = flags.DEFINE_string('model', None, 'Which network it is, for a file that does not say.')


def main(names: list[str]) -> None:
    if len(names) != 1:
        raise UserError(
            f'one checkpoint expected, not {len(names)}: '
            'python scripts/inspect_checkpoint.py PATH_OR_INIT'
        )
    from ftjax.pretrained.inspection import inspect

    print(inspect(names[0], MODEL.value).table())


if __name__ == '__main__':
    # The one script with an argument that is no flag: it is taken out before launch sees it.
    names, flags_only = words_apart(sys.argv)
    launch.run(functools.partial(main, names), flags_only)
