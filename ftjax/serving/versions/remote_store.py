"""A store at a URL of fsspec: s3://, gs://, abfs://, memory://, sftp:// and others.

Objects appear whole. `create` asks for a file that was not there; object stores decide that in one
step (S3, Google Cloud, Azure). What only looks and then writes is read back, and the last who wrote
has it.
"""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Collection, Iterator, Mapping

from ftjax.errors import UserError
from ftjax.io.files.cache_folder import cache_folder
from ftjax.io.files.regular_files import open_regular
from ftjax.io.files.url_folder import open_url
from ftjax.io.files.whole_folder import partial_folder
from ftjax.serving.versions.version_store import LARGEST

_RANGE = 2**24
"""Bytes of a file that are fetched at once."""


class RemoteStore:
    """See `version_store.Store`. Bundles are copied to the cache folder before use."""

    def __init__(self, url: str):
        self.url = url
        self.files, root = open_url(url)
        self.root = root.rstrip('/')

    def path(self, relative: str) -> str:
        """The path of a file or folder, as the file system names it."""
        return f'{self.root}/{relative}'

    def names(self, folder: str) -> list[str]:
        self.files.invalidate_cache()
        try:
            found = self.files.ls(self.path(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = {path.rstrip('/').rpartition('/')[2] for path in found}
        return sorted(name for name in names if name and not name.startswith('.'))

    def read(self, path: str) -> bytes:
        data = self.files.cat_file(self.path(path), start=0, end=LARGEST + 1)
        if len(data) > LARGEST:
            raise OSError(27, f'it has more than {LARGEST} bytes', path)
        return data

    def create(self, path: str, data: bytes) -> bool:
        target = self.path(path)
        self._make_folder(target)
        self.files.invalidate_cache()
        try:
            self.files.pipe_file(target, data, mode='create')
        except FileExistsError:
            return False
        except OSError as error:
            # s3fs raises what S3 says: a precondition failed, or another writer came first.
            if any(word in str(error) for word in ('PreconditionFailed', 'ConditionalRequest')):
                return False
            raise
        return self.read(path) == data

    def add_folder(self, source: pathlib.Path, folder: str, files: Mapping[str, int]) -> None:
        for name in files:
            target = self.path(f'{folder}/{name}')
            self._make_folder(target)
            with open_regular(source / name) as old, self.files.open(target, 'wb') as new:
                shutil.copyfileobj(old, new, 2**22)

    def local(self, folder: str, files: Mapping[str, int], digest: str) -> pathlib.Path:
        target = cache_folder() / 'versions' / digest
        if target.is_dir() and not target.is_symlink():
            return target
        with partial_folder(target) as beside:
            for name, size in files.items():
                self._fetch(f'{folder}/{name}', beside / name, size)
            with contextlib.suppress(OSError):  # another process came first
                beside.rename(target)
        return target

    def forget(self, folder: str, digest: str) -> bool:
        target = cache_folder() / 'versions' / digest
        there = target.is_dir()
        shutil.rmtree(target, ignore_errors=True)
        return there

    @contextlib.contextmanager
    def publishing(self, name: str) -> Iterator[bool]:
        """Nothing to hold: whoever creates the record first has its number."""
        yield False

    def clean(self, folder: str, kept: Collection[str]) -> None:
        """Nothing: here nobody knows whether another publisher is at work."""

    def _fetch(self, path: str, target: pathlib.Path, size: int) -> None:
        place = self.path(path)
        have = self.files.size(place)
        if have != size:
            raise UserError(f'{place} has {have} bytes; its record says {size}')
        # By ranges, not by one open file: of some file systems all readers share its position.
        with open(target, 'xb') as new:
            for start in range(0, size, _RANGE):
                end = min(size, start + _RANGE)
                new.write(self.files.cat_file(place, start=start, end=end))

    def _make_folder(self, target: str) -> None:
        with contextlib.suppress(NotImplementedError, FileExistsError):
            self.files.makedirs(target.rpartition('/')[0], exist_ok=True)
