"""JSON lines: appended whole, repaired after a kill, read with their numbers."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable, write_bytes
from ftjax.io.files.owned_files import check_way, open_plain
from ftjax.io.json.json_reader import LENIENT, parse_json


class JsonLines:
    """A file of JSON objects, one a line, that several processes may append to.

    A line is one `write` of an append-only file under a lock, so lines never interleave;
    it is flushed at once and synced to disk when the file is closed. Opening the file
    repairs what a kill left: half a last line is cut off, a whole one that lacks its
    newline gets it.

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / 'runs.jsonl'
    >>> with JsonLines(path) as lines:
    ...     lines.append({'arm': 'head', 'seed': 0})
    >>> read_jsonl(path)
    [{'arm': 'head', 'seed': 0}]
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = open_plain(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise UserError(f'cannot write {self.path}: {error.strerror or error}') from error
        with _locked(self._handle):
            _repair(self._handle)

    def append(self, row: Mapping[str, object], *, sync: bool = False) -> None:
        """Appends one object; NaN and infinities are written as null.

        Args:
          row: anything `to_jsonable` takes.
          sync: also wait until it is on the disk (for rows that cost minutes to make).
        """
        data = _line(row)
        check_way(self.path)
        try:
            with _locked(self._handle):
                before = os.fstat(self._handle).st_size
                if os.write(self._handle, data) != len(data):
                    # A full disk takes part of a line: leave none of it.
                    os.ftruncate(self._handle, before)
                    raise OSError(28, 'no space left on device')
            if sync:
                os.fsync(self._handle)
        except OSError as error:
            raise UserError(f'cannot write {self.path}: {error.strerror or error}') from error

    def close(self) -> None:
        """Syncs to disk and closes; closing twice is harmless."""
        if self._handle < 0:
            return
        handle, self._handle = self._handle, -1
        try:
            os.fsync(handle)
        except OSError as error:
            raise UserError(f'cannot write {self.path}: {error.strerror or error}') from error
        finally:
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_jsonl(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; none where there is no file.

    A torn last line (a kill while writing) is left out.

    Raises:
      UserError: a line before the last is not a JSON object.
    """
    return [row for _, row in numbered_jsonl(path)]


def numbered_jsonl(path: str | os.PathLike[str]) -> list[tuple[int, dict[str, object]]]:
    """As `read_jsonl`, each object with the number of its line, from 1."""
    check_way(path, itself=True)
    try:
        lines = pathlib.Path(path).read_bytes().split(b'\n')
    except FileNotFoundError:
        return []
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _parse(line)
        if row is None:
            if number == len(lines):
                break
            raise UserError(f'{path} line {number} is not a JSON object: {line[:60]!r}')
        rows.append((number, row))
    return rows


def rewrite(path: pathlib.Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Makes a file hold these rows; it is left as it is where it does."""
    check_way(path, itself=True)
    text = b''.join(_line(row) for row in rows)
    if text != (path.read_bytes() if path.exists() else b''):
        write_bytes(path, text)


def _line(row: Mapping[str, object]) -> bytes:
    text = json.dumps(to_jsonable(dict(row)), ensure_ascii=False, allow_nan=False)
    return text.encode('utf-8') + b'\n'


def _repair(handle: int) -> None:
    size = os.fstat(handle).st_size
    start, tail = size, b''
    while start > 0 and b'\n' not in tail:
        block = min(4096, start)
        start -= block
        tail = os.pread(handle, block, start) + tail
    last = tail[tail.rfind(b'\n') + 1 :]
    if last and _parse(last) is not None:
        os.write(handle, b'\n')
    elif last:
        os.ftruncate(handle, size - len(last))


def _parse(line: bytes) -> dict[str, object] | None:
    try:
        # Those who read its fields refuse what is not finite, with the number of the line.
        row = parse_json(line, 'a row', LENIENT)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


@contextlib.contextmanager
def _locked(handle: int):
    try:
        import fcntl
    except ImportError:  # Windows: one process a file.
        yield
        return
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)
