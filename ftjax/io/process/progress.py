"""A progress line whose ETA leaves compilation out: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TextIO

from ftjax.io.process.live_table import LiveTable
from ftjax.printable import printable


class Pace:
    """Units per second and the time left, from marks of (units done, seconds worked).

    The time to the first mark is left out of the rate: it holds compilation and the filling
    of the input pipeline. Time reported to `exclude` (a later compilation, say when a phase
    begins) is left out as well. Evaluations between steps stay in: they will come again.
    """

    def __init__(self, total: int, start: int = 0):
        self.total, self.done = total, start
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] | None = None
        self._excluded = 0.0

    def mark(self, done: int, seconds: float) -> None:
        """Notes that `done` units of the total were finished `seconds` after the start."""
        self.done = done
        self._last = (done, seconds - self._excluded)
        if self._first is None:
            self._first = self._last

    def exclude(self, seconds: float) -> None:
        """Leaves `seconds` of the time since the last mark out of the rate."""
        self._excluded += seconds

    @property
    def rate(self) -> float | None:
        """Units per second; None until two marks differ."""
        if self._first is None or self._last is None:
            return None
        units, seconds = self._last[0] - self._first[0], self._last[1] - self._first[1]
        return units / seconds if units > 0 and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all units are done; None while the rate is unknown."""
        return None if self.rate is None else max(0, self.total - self.done) / self.rate


class Progress:
    """Shows how far a loop is, how fast, for how long still, and its latest values.

    >>> import io
    >>> with Progress(3, 'train', stream=io.StringIO(), every_seconds=0) as progress:
    ...     for step in range(1, 4):
    ...         progress.update(step, {'loss': 0.5})
    """

    def __init__(
        self,
        total: int,
        description: str,
        *,
        unit: str = 'steps',
        start: int = 0,
        enabled: bool = True,
        at_most: float | None = None,
        every_seconds: float = 5.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Prepares a line; it shows nothing before the context is entered.

        Args:
          total: units in the whole loop, the ones before `start` included.
          description: what is running; a few words.
          unit: plural name of what is counted.
          start: units done before (a resumed run).
          enabled: False shows nothing at all (a run inside a larger loop).
          at_most: seconds after which the loop ends, whatever is left of its units.
          every_seconds: least time between two plain lines where there is no terminal.
          stream: where to; standard error by default.
          clock: seconds from any fixed point.
        """
        self.pace = Pace(total, start)
        self._description = printable(description)
        self._unit, self._enabled, self._at_most = unit, enabled, at_most
        self._every, self._clock = every_seconds, clock
        self._stream = stream or sys.stderr
        self._values: dict[str, object] = {}
        self._table = LiveTable()
        self._bar: Any = None
        self._task: object = None
        self._began = self._shown_at = 0.0

    def __enter__(self) -> Self:
        self._began = self._clock()
        self._shown_at = -math.inf
        if self._enabled and self._table.in_notebook():
            self._table.show(self._described())
        elif self._enabled and self._stream.isatty():
            self._bar, self._task = _rich_bar(self._stream, self._description, self.pace)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self.pace.done, status=self._status())
            self._bar.stop()
        elif self._enabled:
            ending = 'stopped' if kind is not None else 'done'
            took = duration(self._clock() - self._began)
            self._say(f'{self._counted()}, {ending} in {took}{self._shown_values()}')

    def update(self, done: int, values: Mapping[str, object] | None = None) -> None:
        """Shows that `done` units are finished, with the newest `values` (name to number)."""
        now = self._clock()
        self.pace.mark(done, now - self._began)
        if values:
            self._values.update(values)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, status=self._status())
        elif self._enabled and now - self._shown_at >= self._every and done < self.pace.total:
            self._shown_at = now
            self._say(self._described())

    def grow(self, total: int) -> None:
        """Notes that there are `total` units by now; fewer than before change nothing."""
        self.pace.total = max(self.pace.total, total)
        if self._bar is not None:
            self._bar.update(self._task, total=self.pace.total)

    def row(self, values: Mapping[str, object], note: str = '') -> None:
        """Adds a row to the table of the loop, such as what a validation found.

        Args:
          values: heading to number, the same headings each time.
          note: a word at its end.
        """
        if not self._enabled:
            return
        lines = self._table.add({name: _shown(value) for name, value in values.items()}, note)
        if self._table.handle is not None:
            self._table.show(self._described())
            return
        for line in lines:
            if self._bar is not None:
                self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                self._print(line)

    @contextlib.contextmanager
    def excluded(self, activity: str, tell: bool = True) -> Iterator[None]:
        """Runs a block whose time the ETA leaves out, such as 'compiling'.

        With `tell` False only a bar says so, and no line of its own.
        """
        began = self._clock()
        if self._bar is not None:
            self._bar.update(self._task, status=activity)
        elif self._enabled and tell:
            self._say(f'{self._counted()}, {activity}')
        try:
            yield
        finally:
            self.pace.exclude(self._clock() - began)

    def _described(self) -> str:
        return f'{self._counted()}, {self._status()}'

    def _say(self, line: str) -> None:
        if self._table.handle is not None:
            self._table.show(line)
        else:
            self._print(line)

    def _counted(self) -> str:
        share = 100 * self.pace.done / max(1, self.pace.total)
        return f'{self._description} {self.pace.done}/{self.pace.total} ({share:.0f} %)'

    def _status(self) -> str:
        return f'{self._timing()}{self._shown_values()}'

    def _timing(self) -> str:
        rate, left = self.pace.rate, self.pace.seconds_left
        told = None if left is None else f'{duration(left)} left'
        if self._at_most is not None:
            limit = max(0.0, self._at_most - (self._clock() - self._began))
            if left is None or limit < left:
                told = f'at most {duration(limit)} left'
        if rate is None or told is None:
            return told or 'no estimate of the time left yet'
        if rate >= 1:
            return f'{rate:.3g} {self._unit}/s, {told}'
        return f'{1 / rate:.3g} s a {self._unit.removesuffix("s")}, {told}'

    def _shown_values(self) -> str:
        return ''.join(f', {name} {_shown(value)}' for name, value in self._values.items())

    def _print(self, line: str) -> None:
        # A closed pipe (`| head`) must not end a run that has hours behind it.
        with contextlib.suppress(BrokenPipeError, ValueError):
            print(line, file=self._stream, flush=True)


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(4.2), duration(75), duration(3 * 3600 + 120)
    ('4 s', '1 min 15 s', '3 h 02 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60} min {whole % 60:02d} s'
    return f'{whole // 3600} h {whole % 3600 // 60:02d} min'


def _shown(value: Any) -> str:
    if value is None:
        return '–'
    return printable(value) if isinstance(value, (str, int)) else f'{float(value):.4g}'


def _rich_bar(stream: TextIO, description: str, pace: Pace):
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress
    except ImportError:
        return None, None
    bar = RichProgress(
        TextColumn('{task.description}', markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn('{task.fields[status]}', markup=False),
        console=Console(file=stream),
        refresh_per_second=4,
    )
    task = bar.add_task(description, total=pace.total, completed=pace.done, status='starting')
    bar.start()
    return bar, task
