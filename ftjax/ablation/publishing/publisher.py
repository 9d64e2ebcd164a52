"""The folder of an ablation is copied to a URL while it grows, and once more at its end.

The folder stays the truth: rows are appended there, under its lock. What is at the URL is a copy,
some minutes old, that another machine can go on from (`earlier_rows.py`). Nothing is deleted there.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import pathlib
import threading
from collections.abc import Iterable, Iterator, Mapping

from ftjax.ablation.publishing.earlier_rows import OTHER, fetch_rows
from ftjax.ablation.publishing.published_files import (
    NOTES,
    ROWS,
    held,
    named,
    places_of,
    result_files,
    whole_lines,
)
from ftjax.ablation.settings import AblationSettings
from ftjax.distributed.process_group import first
from ftjax.errors import UserError
from ftjax.io.files.url_folder import UrlFolder

SOON, EVERY = 10.0, 120.0
"""Seconds to the first copy of the rows, which tells early what is wrong; and between copies."""
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def published_at(
    url: str,
    folder: pathlib.Path,
    values: Mapping[str, object],
    settings: AblationSettings,
    only: str = '',
) -> Iterator[None]:
    """Rows that the URL holds come first; what the block writes to the folder is copied there.

    Rows and what belongs to them are copied every EVERY seconds, and also where the block ends by
    an error or a signal; tables, report and figures at its end. A copy that fails in between is a
    warning.

    Args:
      url: '' to do nothing, as in processes that are not the first of their run.
      folder: of the ablation.
      values: the config as plain dicts, without its section `ablation`.
      settings: that section.
      only: the one task that is run, which leaves no report; '' for all.

    Raises:
      UserError: the URL cannot be read at the start, or holds another ablation or other rows;
        or the last copy fails.
    """
    if not url or not first():
        yield
        return
    remote = UrlFolder(url, '--publish')
    if remote.folder is not None and remote.folder.resolve().is_relative_to(folder.resolve()):
        raise UserError(f'--publish={url} lies in --workdir={folder}; expected another place')
    fetch_rows(remote, folder, values, settings, only)
    copies = Copies(remote, folder, tuple(places_of(settings, only).values()))
    try:
        with copies.in_between():
            yield
    except BaseException:
        copies.try_rows(repeat=True)
        raise
    try:
        copies.rows()
        if not only:
            copies.results()
    except UserError as error:
        raise UserError(
            f'not published: {error}; all results are in {folder}, and the same command publishes '
            'them without running anything again'
        ) from error
    print(f'published: {remote.url}', flush=True)


class Copies:
    """Copies of a folder's files; what was copied and is as it was is not copied again."""

    def __init__(self, remote: UrlFolder, folder: pathlib.Path, places: Iterable[str]):
        """Copies nothing yet.

        Args:
          remote: where copies go.
          folder: of the ablation.
          places: the folders of its tasks, relative to it; '' for itself.
        """
        self.remote, self.folder, self.places = remote, folder, tuple(places)
        self._written: dict[str, str] = {}
        self._told = ''

    def rows(self) -> None:
        """Copies the rows of each task, and what it goes on from beside them.

        Raises:
          UserError: they cannot be written, or another process has written others.
        """
        for place in self.places:
            name = named(place, ROWS)
            # Rows are read first and written last: the notes of their arms are there before them.
            rows = whole_lines(held(self.folder, [name]).get(name, b''))
            notes = held(self.folder, [named(place, file) for file in NOTES])
            new = self._new({**notes, name: rows})
            if not rows or not new:
                continue
            if not rows.startswith(whole_lines(self.remote.read(name) or b'')):
                raise UserError(
                    f'{self.remote.url}/{name} holds rows that another process published; they '
                    f'stay; {OTHER}'
                )
            self._write(new)

    def results(self) -> None:
        """Copies tables, report and figures; UserError where they cannot be written."""
        self._write(self._new(held(self.folder, result_files(self.folder, self.places))))

    def try_rows(self, *, repeat: bool = False) -> None:
        """As `rows`, with a warning for what fails; for the same again only with `repeat`."""
        try:
            self.rows()
            told = ''
        except (UserError, OSError) as error:
            told = str(error)
        if told and (repeat or told != self._told):
            _log.warning('not published: %s; the rows are in %s', told, self.folder)
        self._told = told

    @contextlib.contextmanager
    def in_between(self) -> Iterator[None]:
        """Within it a thread calls `try_rows` now and then: a slow network holds up no run."""
        ended = threading.Event()
        copier = threading.Thread(target=self._copy, args=(ended,), name='publish', daemon=True)
        copier.start()
        try:
            yield
        finally:
            ended.set()
            copier.join()

    def _copy(self, ended: threading.Event) -> None:
        seconds = SOON
        while not ended.wait(seconds):
            self.try_rows()
            seconds = EVERY

    def _new(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Those that are not at the URL as they are."""
        return {
            name: data for name, data in files.items() if self._written.get(name) != _hash(data)
        }

    def _write(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            self.remote.write(name, data)
            self._written[name] = _hash(data)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
