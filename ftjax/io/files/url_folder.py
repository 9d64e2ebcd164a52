"""A folder at a URL of fsspec: s3://, gs://, abfs://, sftp://, file://, memory:// and others.

Files are read and replaced whole, and never removed. Object stores replace a file in one step, and
a folder of this machine (file://) is written as all other files are. What other file systems leave
of a file while it is replaced is up to them.

fsspec is imported here alone, when a URL is opened.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Collection
from typing import Any

from ftjax.errors import UserError, shown
from ftjax.io.files.atomic import write_bytes

_URL = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*://.*[^/\s]')
_PASSWORD = re.compile(r'://.*:.*@')
"""More than what is one: a password may hold slashes, and must not be printed for that."""


def is_url(place: str) -> bool:
    """Whether a place is meant as a URL.

    >>> is_url('s3://bucket/runs'), is_url('runs/s3')
    (True, False)
    """
    return '://' in place


def check_url(url: str, flag: str) -> None:
    """Raises UserError for what is no URL, or one that holds a secret, which is not repeated.

    >>> check_url('sftp://me:secret@host/runs', '--publish')
    Traceback (most recent call last):
    ftjax.errors.UserError: --publish holds a user and a password; give credentials as the package \
of that file system reads them (environment, its own file), and the URL without them
    """
    if _PASSWORD.search(url):
        raise UserError(
            f'{flag} holds a user and a password; give credentials as the package of that file '
            'system reads them (environment, its own file), and the URL without them'
        )
    if '?' in url or '#' in url:
        raise UserError(
            f'{flag} holds a ? or a #, as signed links do; expected the URL of a folder, such as '
            's3://bucket/path'
        )
    if not _URL.fullmatch(url):
        raise UserError(
            f'{flag} is {shown(url)}; expected a URL such as s3://bucket/path, gs://bucket/path or '
            'file:///path'
        )


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path of the URL there.

    Raises:
      UserError: fsspec, or the package of that file system, is missing; or there is no such one.
    """
    try:
        import fsspec
    except ImportError:
        raise UserError(f'{url} needs the package fsspec: pip install fsspec') from None
    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UserError(f'{url} cannot be opened: {error}') from None


class UrlFolder:
    """Files below a URL, by relative names with slashes; each error is one line with the URL."""

    def __init__(self, url: str, flag: str):
        """Opens a URL; nothing need be there yet.

        Args:
          url: of the folder.
          flag: that gave it, for messages.

        Raises:
          UserError: see `check_url` and `open_url`; or the file system cannot be reached.
        """
        check_url(url, flag)
        self.url = url.rstrip('/')
        with self._told('cannot be opened'):
            self._files, root = open_url(self.url)
        self._root = root.rstrip('/')

    @property
    def folder(self) -> pathlib.Path | None:
        """The folder itself, where it is one of this machine."""
        protocol = self._files.protocol
        local = 'file' in ((protocol,) if isinstance(protocol, str) else protocol)
        return pathlib.Path(self._root) if local else None

    def read(self, name: str) -> bytes | None:
        """What a file holds; None where there is none."""
        with self._told(f'/{name} cannot be read'):
            self._files.invalidate_cache()
            try:
                return self._files.cat_file(f'{self._root}/{name}')
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Makes a file hold this; what it held before is replaced."""
        path = f'{self._root}/{name}'
        with self._told(f'/{name} cannot be written'):
            if self.folder is not None:
                write_bytes(path, data)
                return
            with contextlib.suppress(NotImplementedError, FileExistsError):
                self._files.makedirs(path.rpartition('/')[0], exist_ok=True)
            self._files.pipe_file(path, data)

    def below(self, names: Collection[str]) -> list[str]:
        """Which files have one of these last names, in this folder or in any below it."""
        with self._told('cannot be listed'):
            self._files.invalidate_cache()
            paths = [str(path) for path in self._files.find(self._root)]
        below = [path.removeprefix(f'{self._root}/') for path in paths]
        # A name may come from anywhere: none leads out of where it is copied to.
        return sorted(
            name
            for name in below
            if name.rpartition('/')[2] in names and not {'', '.', '..'} & {*name.split('/')}
        )

    @contextlib.contextmanager
    def _told(self, what: str):
        # Each file system has errors of its own kinds, of botocore or aiohttp for instance.
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            gap = '' if what.startswith('/') else ' '
            told = ' '.join(str(error).split()) or 'no reason was given'
            raise UserError(f'{self.url}{gap}{what}: {type(error).__name__}: {told}') from error
