"""What every script shares: its start, its end, one-line errors and logs.

A script is a docstring, its flags and a `main`:

    from ftjax.cli import launch

    CONFIG = launch.define_config()
    WORKDIR = launch.define_workdir()


    def main():
        print(CONFIG.value, WORKDIR.value)


    if __name__ == '__main__':
        launch.run(main)

Exit codes: 0 done, 1 a fault in the program (with a traceback), 2 something the user can put
right, 3 the machine ran out of something, 130 interrupted by SIGINT (Ctrl-C), 143 by SIGTERM.
In a training loop a first signal stops the run after its present call and saves it: the same
command goes on from that step. A second one ends the process at once; the checkpoints are whole.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags
from absl import logging as absl_logging

from ftjax.cli.flag_parsing import parse_flags
from ftjax.cli.flags import (
    define_allow_code_change,
    define_allowed_changes,
    define_audit,
    define_config,
    define_data,
    define_engine,
    define_own_parts,
    define_workdir,
)
from ftjax.distributed.interrupted import Interrupted
from ftjax.errors import UserError
from ftjax.printable import printable, printable_lines

__all__ = [
    'define_allow_code_change',
    'define_allowed_changes',
    'define_audit',
    'define_config',
    'define_data',
    'define_engine',
    'define_own_parts',
    'define_workdir',
    'explain',
    'first_process',
    'run',
    'set_up_logs',
]

USER, MACHINE, INTERRUPTED = 2, 3, 130
GRACE = 3.0
"""Seconds by which the first process, whose end ends all, outlives an error that others met too."""
_GONE = ('Gloo', 'gloo', 'Connection reset', 'Connection closed', 'heartbeat')
_OUT_OF = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def run(main: Callable[[], object], argv: Sequence[str] | None = None) -> NoReturn:
    """Parses the flags, runs `main()` and ends the process; see the exit codes above.

    What a user or the machine did wrong is one line on stderr, `error: ...`. With
    FTJAX_TRACEBACK=1 in the environment the traceback comes before it.
    """

    def with_flags(rest: Sequence[str]) -> object:
        if len(rest) > 1:
            raise UserError(f'unexpected argument {rest[1]!r}; flags are written --name=value')
        set_up_logs()
        # JAX is not imported before the flags are read: --help is answered at once. And not under
        # the handler below: an exception in the midst of an import may be taken for another.
        from ftjax.xla.compilation_cache import enable_compilation_cache

        signal.signal(signal.SIGTERM, _terminated)
        enable_compilation_cache()
        return main()

    try:
        app.run(with_flags, argv=list(argv or sys.argv), flags_parser=parse_flags)
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except BaseException as error:
        explained = explain(error)
        if explained is None:
            if _several() and not isinstance(error, SystemExit):
                traceback.print_exc()
                leave(1)
            raise
        if os.environ.get('FTJAX_TRACEBACK', '0') not in ('', '0'):
            traceback.print_exc()
        message, status = explained
        print(f'error: {message}', file=sys.stderr, flush=True)
        if _several() and not isinstance(error, Interrupted):
            leave(status)
        if isinstance(error, KeyboardInterrupt) and not _several():
            # The exception has let go of all that was held. Where it came out of a compilation,
            # XLA crashes when the interpreter takes itself apart.
            end_now(status)
        raise SystemExit(status) from None
    raise SystemExit(0)


def join_processes(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Joins the other processes of the run, if it has any; all but the first only say errors.

    See `initialize.start`; to be called before anything looks for devices.
    """
    from ftjax.distributed import initialize

    if initialize.start(coordinator, count, index) and not first_process():
        logging.getLogger('ftjax').setLevel(logging.ERROR)


def leave(status: int) -> NoReturn:
    """Ends the process at once: at an ordinary end it would wait for processes that wait for it."""
    _flush()
    if first_process():
        time.sleep(GRACE)
    os._exit(status)


def end_now(status: int) -> NoReturn:
    """Ends the process without the interpreter's clean-up; what was printed is out."""
    _flush()
    os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def explain(error: BaseException) -> tuple[str, int] | None:
    """One line for people and the exit code; None for a fault of the program itself.

    >>> explain(UserError('no such file: x.csv'))
    ('no such file: x.csv', 2)
    >>> explain(OSError(errno.ENOSPC, 'No space left on device', '/data/x'))
    ('No space left on device: /data/x', 3)
    """
    message = printable(' '.join(str(error).split()))
    if isinstance(error, (UserError, app.UsageError, flags.Error)):
        return message, USER
    if isinstance(error, Interrupted):
        return message, error.status
    if isinstance(error, KeyboardInterrupt):
        return 'interrupted', INTERRUPTED
    if isinstance(error, MemoryError):
        return 'out of memory; try a smaller data.batch_size or image size', MACHINE
    if _of_jax(error) and any(x in message for x in _GONE):
        return f'another process of the run is gone: start all again ({message[:200]})', MACHINE
    if _of_jax(error) and 'RESOURCE_EXHAUSTED' in message:
        return f'out of device memory; try a smaller data.batch_size ({message[:200]})', MACHINE
    if isinstance(error, OSError) and error.errno in _OUT_OF:
        where = f': {error.filename}' if error.filename else ''
        return f'{error.strerror}{where}', MACHINE
    return None


def first_process() -> bool:
    """Whether this process is the first, or the only one, of its run: the one that writes."""
    from ftjax.distributed import process_group

    return process_group.first()


def _several() -> bool:
    """Whether the run has more than one process; it imports nothing in the midst of an error."""
    group = sys.modules.get('ftjax.distributed.process_group')  # join_processes imports it
    return group is not None and group.several()


def _of_jax(error: BaseException) -> bool:
    """Whether JAX's runtime raised it."""
    if 'jax' not in sys.modules:
        return False
    import jax

    return isinstance(error, jax.errors.JaxRuntimeError)


def _terminated(signum: int, _: object) -> NoReturn:
    # Outside the loop, which has a handler of its own: locks and half-made files are let go of.
    raise Interrupted(signum)


def set_up_logs() -> None:
    """Sends ftjax's own log to stderr, one line a record; libraries only warn."""
    if not flags.FLAGS['verbosity'].present:
        absl_logging.set_verbosity(absl_logging.WARNING)
    logger = logging.getLogger('ftjax')
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_LevelFormatter())
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _LevelFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = printable_lines(super().format(record))
        return text if record.levelno <= logging.INFO else f'{record.levelname.lower()}: {text}'
