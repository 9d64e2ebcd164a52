"""A config as a Python file that the scripts take."""

from __future__ import annotations

import pathlib
import pprint
from collections.abc import Mapping

from ftjax.errors import UserError
from ftjax.io.files.atomic import write_text
from ftjax.io.process.provenance import script_command


def write_config_file(file: pathlib.Path, values: Mapping[str, object], about: str) -> None:
    """Writes a config file whose `get_config()` gives the values.

    Args:
      file: where to; it must not exist.
      values: nested plain dicts of what Python can write: numbers, texts, tuples, None.
      about: one sentence, for its docstring.

    Raises:
      UserError: the file exists.
    """
    if file.exists():
        raise UserError(f'{file} exists already; choose another file')
    body = pprint.pformat(dict(values), width=96, sort_dicts=False)
    command = script_command('train', f'--config={file}', f'--workdir=runs/{file.stem}')
    # A name with quotes or backslashes must not end the docstring.
    told = f'{about}\n\n    {command}'.replace('\\', '/').replace('"""', "'''")
    write_text(
        file,
        f'''"""{told}
"""

from ftjax.config import template

VALUES = {body}


def get_config():
    """The values as a ConfigDict."""
    return template(**VALUES)
''',
    )
