"""Puts wrong values at every place of every file that is read from outside, and counts the ends.

    python scripts/fuzzing.py --amount=20000

Each input must end in success or in a UserError of one line, within 20 seconds of processor time
and 2 GiB of memory beyond what the process has. All else, a traceback or a hang, is a failure,
whose input is kept in --workdir. `rows` gives the counts by kind of file to other scripts.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import pathlib
import random
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from absl import flags
from fuzzing_inputs import Kind
from fuzzing_kinds import kinds

from ftjax.cli import launch
from ftjax.errors import UserError

SECONDS, MEMORY = 20.0, 2 * 2**30


class OverLimitError(BaseException):
    """An input took too long; no Exception, so that no code under test takes it for its own."""


@dataclasses.dataclass
class Counts:
    """How the inputs of one kind ended."""

    kind: str
    refused: int = 0
    success: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    """What else happened, and the input's number."""
    reasons: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    @property
    def tried(self) -> int:
        """All inputs."""
        return self.refused + self.success + len(self.failures)

    def told(self) -> str:
        """The counts in one line."""
        return (
            f'{self.kind}: {self.tried} tried, {self.refused} refused, {self.success} accepted, '
            f'{len(self.failures)} failed'
        )


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Ends what takes too long or too much memory, in the main thread, where the system can."""
    if sys.platform != 'linux' or threading.current_thread() is not threading.main_thread():
        yield
        return
    import resource

    def stop(*_):
        raise OverLimitError(f'took more than {SECONDS:g} s')

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(pathlib.Path('/proc/self/statm').read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    most = most if before[1] == resource.RLIM_INFINITY else min(most, before[1])
    handler = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def fuzz(kind: Kind, amount: int, folder: pathlib.Path, seed: int = 0) -> Counts:
    """Reads so many inputs of a kind, the same ones for a seed; those that fail are kept."""
    counts = Counts(kind.name)
    folder.mkdir(parents=True, exist_ok=True)
    inputs = kind.inputs(random.Random(f'{kind.name} {seed}'))
    for number, value in enumerate(itertools.islice(inputs, amount)):
        try:
            with limits():
                kind.read(folder, value)
            counts.success += 1
        except UserError as error:
            message = str(error)
            if message.strip() and '\n' not in message and len(message) < 2000:
                counts.refused += 1
                counts.reasons[message.rpartition('; expected')[2][:60]] += 1
            else:
                counts.failures.append(f'{number}: not one short line: {message[:300]!r}')
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # panics and OverLimitError are no Exceptions
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f'{pathlib.Path(last.filename).name}:{last.lineno}'
            counts.failures.append(f'{number}: {type(error).__name__} at {where}: {error}'[:300])
            data = value if isinstance(value, bytes) else str(value).encode(errors='replace')
            (folder / f'failure-{kind.name.replace(" ", "-")}-{number}').write_bytes(data)
    return counts


def shares(amount: int, slow: bool = True) -> dict[str, int]:
    """How many of so many inputs each kind gets."""
    kinds = {name: kind for name, kind in all_kinds().items() if slow or not kind.slow}
    total = sum(kind.share for kind in kinds.values())
    found = {name: max(int(amount * kind.share / total), 2) for name, kind in kinds.items()}
    first = next(iter(found))
    found[first] += max(amount - sum(found.values()), 0)
    return found


def rows(amount: int, folder: pathlib.Path, seed: int = 0) -> list[dict[str, Any]]:
    """A row a kind, as results/reliability has them: what was tried and how it ended."""
    made = []
    for name, share in shares(amount).items():
        counts = fuzz(all_kinds()[name], share, folder, seed)
        made.append(
            {
                'case': f'hostile input: {name}',
                'tried': counts.tried,
                'lost': len(counts.failures),
                'refused': counts.refused,
                'accepted': counts.success,
                **({'what': counts.failures[:20]} if counts.failures else {}),
            }
        )
        print(counts.told(), flush=True)
    return made


@functools.cache
def all_kinds() -> dict[str, Kind]:
    """Every kind of file from outside, by name."""
    return {kind.name: kind for kind in kinds()}


def main():
    if not WORKDIR.value:
        raise UserError('--workdir says where inputs that fail are kept')
    found = rows(AMOUNT.value, pathlib.Path(WORKDIR.value), SEED.value)
    print(json.dumps(found, indent=2))
    if any(row['lost'] for row in found):
        raise RuntimeError('some inputs ended badly; they are in --workdir')


if __name__ == '__main__':
    WORKDIR = launch.define_workdir()
    AMOUNT = flags.DEFINE_integer('amount', 20_000, 'Inputs, over all kinds.')
    SEED = flags.DEFINE_integer('seed', 0, 'Of the inputs.')
    launch.run(main)
