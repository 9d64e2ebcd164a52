"""A config as a Python file that the scripts take."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from ftjax.errors import UserError
from ftjax.io.files.atomic import write_text
from ftjax.io.identity.own_parts import files_of
from ftjax.io.process.provenance import script_command


def write_config_file(file: pathlib.Path, values: Mapping[str, object], about: str) -> None:
    """Writes a config file whose `get_config()` gives the values.

    Args:
      file: where to; it must not exist.
      values: nested plain dicts of what Python can write: numbers, texts, tuples, None. Files
        of the user's that register what they name are run by the file.
      about: one sentence, for its docstring.

    Raises:
      UserError: the file exists.
    """
    if file.exists():
        raise UserError(f'{file} exists already; choose another file')
    command = script_command('train', f'--config={file}', f'--workdir=runs/{file.stem}')
    # A name with quotes or backslashes must not end the docstring.
    told = f'{about}\n\nTo train it:\n\n    {command}'.replace('\\', '/').replace('"""', "'''")
    own = ''.join(f'run_file({path!r})\n' for path in files_of(values))
    run = 'from ftjax.io.identity.own_parts import run_file\n' if own else ''
    parts = f'\n# What registers parts of your own that the values name.\n{own}' if own else ''
    write_text(
        file,
        f'''"""{told}
"""

from ftjax.config import template
{run}{parts}
VALUES = {_literal(values)}


def get_config():
    """The values as a ConfigDict."""
    return template(**VALUES)
''',
    )


def _literal(value: object, indent: int = 0, key: int = 0) -> str:
    """A value as the project's formatter would write it: one entry a line, 100 columns.

    Args:
      value: nested dicts and tuples of what `repr` can write.
      indent: columns before the line it begins in.
      key: columns of that line before and after it, which its text must fit beside.
    """
    inner = ' ' * (indent + 4)
    if isinstance(value, Mapping) and value:
        lines = [
            f'{inner}{name!r}: {_literal(entry, indent + 4, len(repr(name)) + 3)},\n'
            for name, entry in value.items()
        ]
        return '{\n' + ''.join(lines) + ' ' * indent + '}'
    text = repr(value)
    if isinstance(value, tuple) and value and indent + key + len(text) > 100:
        lines = [f'{inner}{_literal(entry, indent + 4, 1)},\n' for entry in value]
        return '(\n' + ''.join(lines) + ' ' * indent + ')'
    return text
