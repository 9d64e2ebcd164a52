"""A registry of versions: bundles under a name and a number, and which of them is in production.

    ROOT/NAME/bundles/SHA256/..         the files of a bundle
    ROOT/NAME/versions/000003.json      that version 3 is this bundle, of whom, when, with metrics
    ROOT/NAME/history/000007.json       that production holds version 3 from now on, and why

Nothing of this is ever changed. What was created last decides: see `version_store.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import getpass
import logging
import pathlib
import platform
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ftjax.errors import UserError
from ftjax.printable import printable
from ftjax.serving.bundle.loaded_bundle import Bundle, load
from ftjax.serving.bundle.manifest import check_manifest
from ftjax.serving.versions.places import open_store
from ftjax.serving.versions.version_names import (
    LATEST,
    MOST,
    Reference,
    check_model_name,
    parse_reference,
)
from ftjax.serving.versions.version_records import (
    Event,
    Version,
    read_event,
    read_version,
    to_bytes,
)
from ftjax.serving.versions.version_store import Store

Record = TypeVar('Record', Version, Event)
_FILE = re.compile(r'([0-9]{6,10})\.json')
_log = logging.getLogger(__name__)


_DAMAGES = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class Unreachable(UserError):
    """The store did not answer: nothing is known of what it holds."""


@dataclasses.dataclass(frozen=True)
class Damaged:
    """A record that cannot be read."""

    number: int
    reason: str


class Registry:
    """Versions at a path or URL; see the module.

    >>> Registry('memory://nothing').resolve('digits@3')
    Traceback (most recent call last):
    ftjax.errors.UserError: memory://nothing holds no model 'digits'; known: none
    """

    def __init__(self, url: str | pathlib.Path):
        self.url = str(url)
        self.store: Store = open_store(self.url)

    def models(self) -> list[str]:
        """Names of all models that have a version."""
        with self.reading('its models'):
            names = self.store.names('')
        return [name for name in names if _is_model(name) and self.numbers(name, 'versions')]

    def numbers(self, name: str, folder: str) -> list[int]:
        """Numbers of the records of a kind, ascending; whether they can be read is another thing.

        Args:
          name: of the model.
          folder: `versions` or `history`.
        """
        with self.reading(name):
            files = self.store.names(f'{name}/{folder}')
        found = (_FILE.fullmatch(file) for file in files)
        numbers = (int(each[1]) for each in found if each and each[0] == file_of(int(each[1])))
        return sorted(number for number in numbers if 0 < number <= MOST)

    def versions(self, name: str) -> list[Version | Damaged]:
        """All versions of a model, ascending; UserError where there is no such model."""
        check_model_name(name)
        found = self.records(name, 'versions', read_version)
        if not found:
            known = ', '.join(self.models()) or 'none'
            raise UserError(f'{self.url} holds no model {name!r}; known: {known}')
        return found

    def version(self, name: str, number: int) -> Version:
        """One version; UserError where there is none, or where its record is damaged."""
        known = self.numbers(name, 'versions')
        if number not in known:
            last = self.versions(name)[-1]
            raise UserError(f'{name}@{number} is not there; the last version is {last.number}')
        (found,) = self.records(name, 'versions', read_version, [number])
        if isinstance(found, Damaged):
            raise self.damage(name, number, found.reason)
        return found

    def history(self, name: str) -> list[Event | Damaged]:
        """All promotions and rollbacks of a model, ascending."""
        check_model_name(name)
        return self.records(name, 'history', read_event)

    def resolve(self, reference: str | Reference) -> Version:
        """The version that `NAME@3`, `NAME@latest`, `NAME@staging` or `NAME@production` is.

        Its record is read; its files are checked by `open`.

        Raises:
          UserError: no such model or version, nothing promoted, or a damaged record.
        """
        if not isinstance(reference, Reference):
            reference = parse_reference(reference)
        name, which = reference.name, reference.which
        if isinstance(which, int):
            return self.version(name, which)
        numbers = self.numbers(name, 'versions') or [each.number for each in self.versions(name)]
        if which == LATEST:
            return self.version(name, numbers[-1])
        event = self.held(name, which)
        if event is None:
            raise UserError(
                f'nothing of {name} is in {which}; scripts/registry.py promote '
                f'{name}@{numbers[-1]} {which} --reason=WHY puts the last version there'
            )
        return self.version(name, event.version)

    def held(self, name: str, stage: str) -> Event | None:
        """The change that says what a stage holds; None where it never held anything.

        Raises:
          UserError: a later change cannot be read, so that nobody knows.
        """
        last = None
        for number in reversed(self.numbers(name, 'history')):
            (event,) = self.records(name, 'history', read_event, [number])
            if isinstance(event, Damaged):
                last = last or event
            elif event.stage == stage:
                if last is not None:
                    raise UserError(
                        f'{last.reason}: what {name}@{stage} is cannot be told. Before that it was '
                        f'{name}@{event.version}; promote a version anew'
                    )
                return event
        if last is not None:
            raise UserError(f'{last.reason}: what {name}@{stage} is cannot be told')
        return None

    def open(self, version: Version) -> pathlib.Path:
        """The bundle's folder on this machine, every file of it with the right hash.

        Raises:
          UserError: it is damaged; the last good version is named.
        """
        with self.reading(str(version)):
            try:
                return self.checked(version)
            except (UserError, *_DAMAGES) as error:
                raise self.damage(version.name, version.number, str(error)) from error

    def load(self, reference: str, *, goldens: bool = True) -> Bundle:
        """A version as a bundle that was verified; see `ftjax.serving.load`."""
        version = self.resolve(reference)
        return load(self.open(version), sha256=version.sha256, goldens=goldens)

    def checked(self, version: Version) -> pathlib.Path:
        """As `open`, with the plain reason: UserError or FileNotFoundError."""
        folder = self.store.local(version.folder, version.files, version.sha256)
        try:
            check_manifest(folder, version.sha256)
        except UserError:
            # A copy in the cache may be damaged where the original is not.
            if not self.store.forget(version.folder, version.sha256):
                raise
            folder = self.store.local(version.folder, version.files, version.sha256)
            check_manifest(folder, version.sha256)
        return folder

    def damage(self, name: str, number: int, reason: str) -> UserError:
        """What is said of a damaged version: its name, why, and which one is good."""
        good = 'no version is good'
        for other in reversed(self.records(name, 'versions', read_version)):
            if isinstance(other, Version) and other.number != number:
                with contextlib.suppress(UserError, OSError):
                    self.checked(other)
                    good = f'the last good version is {other}'
                    break
        return UserError(f'{name}@{number} is damaged: {reason}; {good}')

    def records(
        self,
        name: str,
        folder: str,
        read: Callable[[bytes, str, str, int], Record],
        numbers: list[int] | None = None,
    ) -> list[Record | Damaged]:
        """Records of a kind, all of them unless some are asked for."""
        found: list[Record | Damaged] = []
        for number in self.numbers(name, folder) if numbers is None else numbers:
            path = f'{name}/{folder}/{file_of(number)}'
            where = f'{self.url.rstrip("/")}/{path}'
            try:
                with self.reading(path):
                    found.append(read(self.store.read(path), where, name, number))
            except Unreachable:
                raise
            except UserError as error:
                found.append(Damaged(number, str(error)))
        return found

    @contextlib.contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Errors of the store as UserErrors that say what was to be read."""
        try:
            yield
        except OSError as error:
            told = f'{self.url}: {what} cannot be read ({reason_of(error)})'
            damaged = isinstance(error, _DAMAGES) or error.errno in (errno.EINVAL, errno.EFBIG)
            raise (UserError if damaged else Unreachable)(told) from error


def made_now(last: Version | Event | Damaged | None) -> Mapping[str, Any]:
    """When, who and token of a new record; warns where the clock says that it is an earlier one."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    if not isinstance(last, Damaged | None) and last.when > now:
        _log.warning(
            'the clock of this machine says %s, and number %d of %s was made at %s: numbers say '
            'what came first, not times',
            *(now, last.number, last.name, last.when),
        )
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = 'unknown'
    who = printable(f'{user}@{platform.node()}')[:200]
    return {'when': now, 'who': who, 'token': secrets.token_hex(16)}


def file_of(number: int) -> str:
    """The file of a record."""
    return f'{number:06d}.json'


def create(registry: Registry, folder: str, record: Version | Event) -> bool:
    """Writes a record; False where another one has its number.

    Raises:
      UserError: the store cannot be written to, or nobody could read the record.
    """
    path, data = f'{record.name}/{folder}/{file_of(record.number)}', to_bytes(record)
    # Records are for ever: one that cannot be read would make its stage unreadable.
    read = read_version if isinstance(record, Version) else read_event
    read(data, f'the new record {path}', record.name, record.number)
    with writing(registry):
        return registry.store.create(path, data)


@contextlib.contextmanager
def writing(registry: Registry) -> Iterator[None]:
    """Errors of the store as UserErrors."""
    try:
        yield
    except OSError as error:
        raise UserError(f'cannot write to {registry.url}: {reason_of(error)}') from error


def reason_of(error: OSError) -> str:
    """Why, in a few words."""
    return error.strerror or ' '.join(str(error).split())[:300] or type(error).__name__


def _is_model(name: str) -> bool:
    with contextlib.suppress(UserError):
        return bool(check_model_name(name))
    return False
