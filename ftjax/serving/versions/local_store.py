"""A store in a plain folder: files appear whole by a hard link, folders by a rename."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Collection, Iterator, Mapping

from ftjax.errors import UserError
from ftjax.io.files.regular_files import open_regular, read_bytes
from ftjax.io.files.whole_folder import partial_folder, remove_abandoned
from ftjax.serving.versions.version_store import LARGEST

LOCK = '.publishing'
PATIENCE = 600.0
"""Seconds that a publisher waits for another."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_log = logging.getLogger(__name__)


class LocalStore:
    """See `version_store.Store`. Links below the root are not followed."""

    def __init__(self, root: pathlib.Path, url: str):
        self.root, self.url = root, url

    def path(self, relative: str) -> pathlib.Path:
        """The path of a file or folder; UserError where a link lies on the way."""
        path = self.root
        for part in relative.split('/'):
            path = path / part
            if path.is_symlink():
                raise UserError(f'{path} is a link; a registry of versions holds none')
        return path

    def names(self, folder: str) -> list[str]:
        try:
            with os.scandir(self.path(folder)) as found:
                return sorted(
                    each.name
                    for each in found
                    if not each.is_symlink() and not each.name.startswith('.')
                )
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, path: str) -> bytes:
        return read_bytes(self.path(path), LARGEST)

    def create(self, path: str, data: bytes) -> bool:
        target = self.path(path)
        with partial_folder(target) as beside:
            written = beside / 'record'
            with open(written, 'xb') as file:
                file.write(data)
                _sync(file.fileno())
            try:
                os.link(written, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return _created(target, data)
        _sync_folder(target.parent)
        return True

    def add_folder(self, source: pathlib.Path, folder: str, files: Mapping[str, int]) -> None:
        target = self.path(folder)
        with partial_folder(target) as beside:
            for name in files:
                with open_regular(source / name) as old, open(beside / name, 'xb') as new:
                    shutil.copyfileobj(old, new, 2**20)
                    new.flush()
                    _sync(new.fileno())
            beside.chmod(0o755)
            if target.exists():  # it was damaged: what is there now makes room
                os.rename(target, beside.with_name(f'{beside.name}.old'))
                try:
                    os.rename(beside, target)
                finally:
                    shutil.rmtree(beside.with_name(f'{beside.name}.old'), ignore_errors=True)
            else:
                os.rename(beside, target)
        _sync_folder(target.parent)

    def local(self, folder: str, files: Mapping[str, int], digest: str) -> pathlib.Path:
        return self.path(folder)

    def forget(self, folder: str, digest: str) -> bool:
        return False

    def clean(self, folder: str, kept: Collection[str]) -> None:
        for name in self.names(folder):
            if name not in kept:
                shutil.rmtree(self.path(f'{folder}/{name}'), ignore_errors=True)
        remove_abandoned(self.path(folder), young=0)

    @contextlib.contextmanager
    def publishing(self, name: str) -> Iterator[bool]:
        """Waits for other publishers of the machine; the kernel ends the lock with its process."""
        try:
            import fcntl
        except ImportError:  # Windows: `create` alone decides
            yield False
            return
        folder = self.path(name)
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path(f'{name}/{LOCK}'), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            yield _locked(fcntl, handle, f'{self.root / name}')
        finally:
            os.close(handle)


def _locked(fcntl, handle: int, where: str) -> bool:
    until, told = time.monotonic() + PATIENCE, False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return False  # a file system without such locks
        else:
            return True
        if time.monotonic() > until:
            raise UserError(f'{where}: another process has been publishing for {PATIENCE:g} s')
        if not told:
            _log.info('%s: another process is publishing; waiting for it', where)
            told = True
        time.sleep(0.05)


def _created(target: pathlib.Path, data: bytes) -> bool:
    # Without hard links a kill may leave half a file: its checksum tells, and it is refused.
    try:
        with open(target, 'xb') as file:
            file.write(data)
            file.flush()
            _sync(file.fileno())
    except FileExistsError:
        return False
    return True


def _sync(handle: int) -> None:
    os.fsync(handle)


def _sync_folder(folder: pathlib.Path) -> None:
    with contextlib.suppress(OSError):  # some file systems refuse to sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
