"""The server's side of monitoring: one sketch a window of time, written while it fills."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import pathlib
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.serving.bundle.input_measures import measure_names, measured
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.loaded_bundle import Bundle
from ftjax.serving.bundle.reference import Reference, check_monitored
from ftjax.serving.monitoring.kept_inputs import KeptInputs
from ftjax.serving.monitoring.sketch import Answered, Sketch
from ftjax.serving.monitoring.window_file import (
    FLUSH,
    NAME,
    Window,
    file_name,
    window_of,
    write_window,
)

INPUTS = 'inputs'
"""Folder within the windows' folder for inputs that are kept."""
WINDOWS, BYTES = 2000, 2**30
"""Most files of windows in the folder, and their bytes; then the oldest go."""
_log = logging.getLogger('ftjax.serving')


class TrafficMonitor:
    """Counts answers in windows of time; all calls but `store` come from one event loop."""

    def __init__(
        self,
        bundle: Bundle,
        reference: Reference,
        folder: pathlib.Path,
        *,
        seconds: int = 7 * 86_400,
        keep_inputs: float = 0.0,
        clock: Callable[[], float] = time.time,
    ):
        """Opens a folder of windows.

        Args:
          bundle: that answers.
          reference: of the bundle.
          folder: for windows, made where it is missing.
          seconds: of a window; they begin at multiples of it since 1970.
          keep_inputs: share of the inputs that is kept as files; 0 keeps none.
          clock: seconds since 1970.

        Raises:
          UserError: a length or share out of range, a folder that cannot be written to, or a
            reference that traffic cannot be compared with.
        """
        check_monitored(reference)
        if not 1 <= seconds <= 2**26:
            raise UserError(f'a window of {seconds} seconds; expected 1 to {2**26}')
        self.bundle, self.reference, self.folder = bundle, reference, folder
        self.seconds, self.clock = int(seconds), clock
        self.server = secrets.token_hex(4)
        self.names = measure_names(bundle.reader)
        self.number, self.failures = 0, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f'.{self.server}'
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(f'{folder} cannot be written to: {error.strerror}') from error
        self.kept = KeptInputs(folder / INPUTS, keep_inputs, self.server, self._seed(0))
        self._done: list[tuple[str, Window]] = []
        self._begin(self._period())

    def measured(self, raw: Any, given: InputRows) -> np.ndarray:
        """The measures of an input; safe in any thread."""
        found = measured(self.bundle.reader, raw, given)
        if self.names == self.reference.measure_names:
            return found
        return np.zeros(len(self.reference.measure_names), np.float32)  # an older bundle

    def note(self, request: str, raw: Sequence[Any], answers: Sequence[Answered]) -> None:
        """Counts the answers to the inputs of a request."""
        self._rotate()
        self.sketch.note(answers)
        for number, each in enumerate(raw):
            if self.kept.chosen():
                with contextlib.suppress(OSError):  # a full disk must not cost an answer
                    self.kept.write(each, f'{request}_{number}')

    def note_refused(self) -> None:
        """Counts a request that got an error in place of answers."""
        self._rotate()
        self.refused += 1

    async def run(self) -> None:
        """Writes windows until it is cancelled."""
        while True:
            await asyncio.sleep(FLUSH)
            self._rotate()
            writing = asyncio.create_task(asyncio.to_thread(self.store, self.waiting()))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                # A thread goes on: whoever writes next must not be overwritten by what is older.
                await asyncio.wait([writing])
                raise

    def waiting(self) -> list[tuple[str, Window]]:
        """(file name, window) of those that are over, and a copy of the present one."""
        windows, self._done = [*self._done, *self._present()], []
        return windows

    def store(self, windows: Sequence[tuple[str, Window]]) -> None:
        """Writes windows; where that fails it is logged and counted, and answers go on."""
        for name, window in windows:
            try:
                write_window(self.folder / name, window)
            except UserError as error:
                self.failures += 1
                _log.warning('a window is lost: %s', error)
        with contextlib.suppress(OSError):
            drop_oldest(self.folder)

    def _present(self) -> list[tuple[str, Window]]:
        if not self.sketch.seen + self.sketch.unusable + self.refused:
            return []
        window = window_of(
            self.sketch,
            bundle=self.bundle.digest,
            start=self.start,
            seconds=self.seconds,
            refused=self.refused,
            seed=self._seed(self.number),
        )
        return [(file_name(window, self.server, self.number), window)]

    def _rotate(self) -> None:
        # A clock that goes back begins a window too: a file of its own, never an old one again.
        period = self._period()
        if period != self.start:
            self._done = [*self._done, *self._present()][-8:]
            self.number += 1
            self._begin(period)

    def _begin(self, start: int) -> None:
        self.start, self.refused = start, 0
        self.sketch = Sketch(self.reference, len(self.reference.predicted), self._seed(self.number))

    def _period(self) -> int:
        return max(0, int(self.clock() // self.seconds) * self.seconds)

    def _seed(self, number: int) -> int:
        text = f'{self.bundle.digest} {self.server} {number}'
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def drop_oldest(folder: pathlib.Path, windows: int = WINDOWS, size: int = BYTES) -> int:
    """Removes the oldest windows beyond a number and a size in bytes; how many."""
    found = sorted((p for p in folder.iterdir() if NAME.fullmatch(p.name)), reverse=True)
    total, dropped = 0, 0
    for place, path in enumerate(found):
        total += path.lstat().st_size
        if place >= windows or (total > size and place):
            path.unlink(missing_ok=True)
            dropped += 1
    return dropped
