"""Paths as users write them, and what is near when one is missing."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from ftjax.errors import UserError, did_you_mean, shown

# Beside a checkout; for tests and reproductions only, nothing is looked for there unasked.
_DEFAULT_DATA = Path(__file__).resolve().parents[2] / '..' / 'shared' / 'data'


def resolve_path(text: str) -> Path:
    """`text` with `~` and `$FTJAX_DATA` (default ../shared/data beside the checkout) put in."""
    if '$FTJAX_DATA' in text:
        default = os.environ.get('FTJAX_DATA') or os.path.normpath(_DEFAULT_DATA)
        text = text.replace('$FTJAX_DATA', default)
    path = Path(os.path.expanduser(text))
    try:
        path.exists()
    except (OSError, ValueError) as error:  # a name that is too long, for instance
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'no file or folder {shown(text)}: {reason}') from error
    return path


def existing_folder(text: str, what: str) -> Path:
    """The folder at `text`; raises UserError naming its nearest sibling if there is none."""
    path = resolve_path(text)
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f'{what}: {path} is a file; expected a folder')
    raise UserError(f'{what}: no folder {path}; {_near(path, folders=True)}')


def existing_file(text: str, what: str) -> Path:
    """The file at `text`; raises UserError naming its nearest sibling if there is none."""
    path = resolve_path(text)
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f'{what}: {path} is a folder; expected a file')
    raise UserError(f'{what}: no file {path}; {_near(path, folders=False)}')


def inside(folder: Path, relative: str, where: str) -> Path:
    """`folder / relative`; raises UserError if that would lie outside the folder.

    A table from elsewhere must not make us read files of its author's choosing.
    """
    windows = PureWindowsPath(relative)
    escapes = PurePosixPath(relative).is_absolute() or windows.drive or windows.root
    if escapes or '..' in windows.parts or '\0' in relative:
        raise UserError(
            f'{where}: path {relative!r} leads out of {folder}; paths must be relative to the '
            'file that lists them, without ..'
        )
    return folder / relative


def _near(path: Path, folders: bool) -> str:
    missing, parent = path.name, path.absolute().parent
    while not parent.is_dir():
        missing, folders, parent = parent.name, True, parent.parent
    names = [p.name for p in sorted(parent.iterdir()) if p.is_dir() or not folders]
    names = [name for name in names if not name.startswith('.')]
    if not names:
        return f'{parent} is empty'
    if len(names) > 20 and not did_you_mean(missing, names).startswith('did'):
        return f'{parent} has {len(names)} entries, none of a like name'
    return f'in {parent}, {did_you_mean(missing, names)}'
