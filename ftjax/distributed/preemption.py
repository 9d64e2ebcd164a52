"""SIGTERM and SIGINT as requests: the loop stops after the present call and saves; a second
signal ends the process at once.

Signals are noticed by a thread, through the wakeup descriptor of `signal`: Python's own handlers
wait until the main thread is back from XLA, which may compile or compute for minutes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ftjax.distributed.interrupted import Interrupted
from ftjax.distributed.process_group import largest

T = TypeVar('T')
SIGNALS = (signal.SIGTERM, signal.SIGINT)
_first: int | None = None
_depth = 0


def requested() -> int | None:
    """The signal that asks the process to stop; None while there is none."""
    return _first


def stop_if_requested() -> None:
    """Raises Interrupted if a stop was asked for, of this process or of another of its run.

    All processes of a run must call it, so that all stop at the same place.
    """
    asked = largest(_first or 0)
    if asked:
        raise Interrupted(asked)


def while_wanted(items: Iterable[T]) -> Iterator[T]:
    """The items one by one, until a stop is asked for: then Interrupted."""
    for item in items:
        stop_if_requested()
        yield item


@contextlib.contextmanager
def says_where(where: Callable[[], str]) -> Iterator[None]:
    """Adds `where()` to the message when the block is interrupted."""
    try:
        yield
    except Interrupted as error:
        error.say(where())
        raise


@contextlib.contextmanager
def stops_on_signals() -> Iterator[None]:
    """Within it a first signal sets `requested()`; a second ends the process at once.

    It may be nested; outside the main thread, where Python takes no signals, it does nothing.
    """
    global _depth, _first
    if _depth or threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = {number: signal.signal(number, _ignore) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader,), name='signals', daemon=True)
    watcher.start()
    _depth, _first = 1, None
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        watcher.join()
        reader.close()
        _depth, _first = 0, None


def _ignore(*_: object) -> None:
    """A handler there must be, for the signal to be written to the descriptor."""


def _watch(reader: socket.socket) -> None:
    global _first
    while data := reader.recv(16):
        for signum in data:
            if signum not in SIGNALS:
                continue
            if _first is not None:
                _say(f'{signal.Signals(signum).name} again: ending at once')
                os._exit(128 + signum)
            _first = signum
            _say(
                f'{signal.Signals(signum).name}: stopping after the present step and saving; '
                'once more to end at once'
            )


def _forget() -> None:
    # A forked child would write its signals into its parent's descriptor.
    if _depth:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget)


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
