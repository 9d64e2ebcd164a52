"""Folders of image files: what is an image, what is passed over, and names that are not UTF-8."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from ftjax.data.images.decode import SUFFIXES
from ftjax.errors import UserError


class PassedOver:
    """Files in the folders of a data set that are not read, for a message."""

    def __init__(self):
        self._suffixes: collections.Counter[str] = collections.Counter()
        self._folders: list[str] = []
        self._loose: list[tuple[Path, int]] = []
        self._names: list[str] = []

    def file(self, name: str) -> None:
        """A file that is no image."""
        suffix = os.path.splitext(name)[1].lower()
        self._suffixes[readable(suffix) or 'no suffix'] += 1

    def folder(self, path: Path) -> None:
        """A folder with images and the name of a hidden folder."""
        if str(path) not in self._folders:
            self._folders.append(str(path))

    def loose(self, folder: Path, count: int) -> None:
        """Images that lie beside class folders."""
        self._loose.append((folder, count))

    def renamed(self, name: str) -> None:
        """A name that is not UTF-8 and is shown with escapes."""
        self._names.append(name)

    def notes(self, root: Path) -> tuple[str, ...]:
        """Sentences, one a kind; none where nothing was passed over."""
        found = []
        if self._suffixes:
            kinds = ', '.join(f'{kind} {n:,}' for kind, n in self._suffixes.most_common(6))
            more = ', ..' if len(self._suffixes) > 6 else ''
            files = _counted(
                sum(self._suffixes.values()), 'file that is no image', 'files that are no images'
            )
            found.append(f'{root}: passed over {files} ({kinds}{more})')
        for folder, count in self._loose:
            images = _counted(count, 'image that lies', 'images that lie')
            found.append(f'{folder}: passed over {images} beside the class folders')
        for folder in self._folders:
            found.append(f'{readable(folder)}: passed over, a hidden folder with images')
        if self._names:
            names = _counted(len(self._names), 'name that is', 'names that are')
            found.append(f'{root}: {names} not UTF-8, shown as {self._names[0]}')
        return tuple(found)


def image_files(folder: Path, passed: PassedOver | None = None) -> list[str]:
    """Paths of all images below a folder, sorted; links are followed, hidden files left out.

    A folder that several links lead to is read once, and one above where it began not at all.

    Raises:
      UserError: for a folder that may not be read.
    """
    return sorted(stream_image_files(folder, passed))


def stream_image_files(folder: Path, passed: PassedOver | None = None) -> Iterator[str]:
    """As `image_files`, one folder after the other, so that no list of all is made."""
    passed = passed if passed is not None else PassedOver()
    for where, folders, files in _walk(folder, _closed):
        for name in folders:
            if name.startswith('.') and has_images(Path(where, name)):
                passed.folder(Path(where, name))
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for name in sorted(files):
            if name.startswith('.'):
                continue
            if is_image(name):
                yield os.path.join(where, name)
            else:
                passed.file(name)


def _walk(
    folder: Path, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk, through links, but into no folder twice and into none that holds `folder`."""
    seen, start = set(), os.path.realpath(folder)
    for where, folders, files in os.walk(folder, onerror=onerror, followlinks=True):
        place = os.path.realpath(where)
        above = place != start and start.startswith(os.path.join(place, ''))
        if place in seen or above:
            folders[:] = []
            continue
        seen.add(place)
        yield where, folders, files


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image that is read."""
    return name.lower().endswith(SUFFIXES) and not name.startswith('.')


def has_images(folder: Path) -> bool:
    """Whether there is an image anywhere below a folder; as soon as one is found."""
    for _, folders, files in _walk(folder):
        folders[:] = [name for name in folders if not name.startswith('.')]
        if any(is_image(name) for name in files):
            return True
    return False


def subfolders(folder: Path, passed: PassedOver | None = None) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are left out.

    So are those that begin with `_` and hold no image (`__MACOSX`): an empty class would be
    an error.

    Raises:
      UserError: if it may not be read.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    except PermissionError as error:
        raise UserError(f'{folder}: may not be read; check its permissions') from error
    if passed is not None:
        for name in names:
            if name.startswith('.') and name != '.git' and has_images(folder / name):
                passed.folder(folder / name)
    visible = [name for name in names if not name.startswith('.')]
    return [name for name in visible if name[0] != '_' or has_images(folder / name)]


def loose_images(folder: Path) -> int:
    """How many images lie in a folder itself."""
    return sum(is_image(entry.name) for entry in folder.iterdir() if entry.is_file())


def readable(name: str) -> str:
    r"""A name of the file system as text that can be written anywhere.

    Bytes that are not UTF-8, which Python keeps as half characters, become escapes.

    >>> readable('caf\udce9.png')
    'caf\\xe9.png'
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        try:
            data = name.encode('utf-8', 'surrogateescape')
        except UnicodeEncodeError:  # half characters that stand for no byte
            data = name.encode('utf-8', 'backslashreplace')
        return data.decode('utf-8', 'backslashreplace')
    return name


def _closed(error: OSError) -> NoReturn:
    raise UserError(
        f'{error.filename}: may not be read ({error.strerror}); check its permissions'
    ) from error


def _counted(count: int, one: str, several: str) -> str:
    return f'{count:,} {one if count == 1 else several}'
