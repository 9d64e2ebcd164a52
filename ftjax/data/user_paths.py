"""Paths as users write them, and what is near when one is missing."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from ftjax.errors import UserError, did_you_mean, shown
from ftjax.io.files.presence import is_possible

# Beside a checkout; for tests and reproductions only, nothing is looked for there unasked.
_DEFAULT_DATA = Path(__file__).resolve().parents[2] / '..' / 'shared' / 'data'


def resolve_path(text: str, what: str = 'path') -> Path:
    """`text` with `~` and `$FTJAX_DATA` (default ../shared/data beside the checkout) put in.

    Raises UserError, which begins with `what`, for a path that no file system can have.
    """
    given = text
    if '$FTJAX_DATA' in text:
        default = os.environ.get('FTJAX_DATA') or os.path.normpath(_DEFAULT_DATA)
        text = text.replace('$FTJAX_DATA', default)
    path = Path(os.path.expanduser(text))
    if not is_possible(path):
        raise UserError(f'{what}: {shown(given, 200)} is no path that this system can have')
    return path


def existing_folder(text: str, what: str) -> Path:
    """The folder at `text`; raises UserError naming its nearest sibling if there is none."""
    return _existing(text, what, ('file', 'folder'))


def existing_file(text: str, what: str) -> Path:
    """The file at `text`; raises UserError naming its nearest sibling if there is none."""
    return _existing(text, what, ('folder', 'file'))


def _existing(text: str, what: str, kinds: tuple[str, str]) -> Path:
    path, (other, kind) = resolve_path(text, what), kinds
    if path.is_dir() if kind == 'folder' else path.is_file():
        return path
    if path.is_dir() or (kind == 'folder' and path.exists()):
        raise UserError(f'{what}: {path} is a {other}; expected a {kind}')
    _check_data_folder(text, what)
    raise UserError(f'{what}: no {kind} {path}; {_near(path, folders=kind == "folder")}')


def inside(folder: Path, relative: str, where: str) -> Path:
    """`folder / relative`, or an absolute path in the folder; UserError for one outside it.

    A table from elsewhere must not make us read files of its author's choosing.
    """
    windows, posix = PureWindowsPath(relative), PurePosixPath(relative)
    allowed = '..' not in windows.parts and '\0' not in relative
    if allowed and posix.is_absolute():
        for root in (folder, folder.absolute(), folder.resolve()):
            if posix.is_relative_to(root):
                return Path(posix)
    if not allowed or posix.is_absolute() or windows.drive or windows.root:
        raise UserError(
            f'{where}: path {relative!r} leads out of {folder}; paths must be relative to it or '
            'lie in it, without .. (of image paths data.image_root says another folder)'
        )
    return folder / relative


def _check_data_folder(text: str, what: str) -> None:
    """UserError where something is missing because the data folder is not set."""
    if '$FTJAX_DATA' in text and not os.environ.get('FTJAX_DATA'):
        below = text.partition('$FTJAX_DATA')[2].strip('/') or 'the data'
        raise UserError(
            f'{what}: the environment variable FTJAX_DATA is not set; set it to the folder that '
            f'holds {below}'
        )


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
