"""Several processes of one run, on one machine or many: what they agree on.

All of them run the same program in step. The first alone writes files (but for the parts of arrays
that only others hold, see ftjax/training/checkpoints/writer.py); what only it knows goes
to the others from there. Whoever fails ends at once, without waiting for the others: they notice
by the connections that break, or by the heartbeat that stops.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from ftjax.errors import UserError
from ftjax.io.json.tree_json import pack, unpack

Value = TypeVar('Value')

PIECE = 2**24
"""Bytes that are sent from the first process at once."""


def several() -> bool:
    """Whether the run has more than one process; JAX looks for no devices to answer."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def first() -> bool:
    """Whether this process is the one that writes."""
    return not several() or jax.process_index() == 0


def own_share(count: int) -> range:
    """Which of so many things this process takes: every one is taken by one process.

    >>> own_share(3)  # of a single process
    range(0, 3)
    """
    return range(jax.process_index(), count, jax.process_count()) if several() else range(count)


def largest(value: int) -> int:
    """The largest of the processes' values, in all of them; int32."""
    if not several():
        return value
    from jax.experimental import multihost_utils

    return int(np.max(multihost_utils.process_allgather(np.int32(value))))


def least(value: int) -> int:
    """The smallest of the processes' values, to within a MiB: sizes are beyond int32."""
    return value if not several() else -largest(-(value >> 20)) << 20


def wait(name: str) -> None:
    """Returns when all processes have come here."""
    if several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def same_everywhere(what: str, value: object) -> None:
    """UserError if the processes hold different values of something.

    Args:
      what: its name, for the message.
      value: anything JSON can hold.
    """
    if not several():
        return
    from jax.experimental import multihost_utils

    text = json.dumps(value, sort_keys=True, default=str)
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    found = multihost_utils.process_allgather(digest)
    other = [number for number, row in enumerate(found) if not np.array_equal(row, found[0])]
    if other:
        raise UserError(f'process {other[0]} has another {what} than process 0; give all the same')


def from_first(make: Callable[[], Value]) -> Value:
    """What `make` returns in the first process, in all of them; the others do not call it.

    The value is a tree of dicts, lists, NumPy arrays, numbers, text and None, as a checkpoint
    holds it.
    """
    if not several():
        return make()
    return _from(0, make)


def from_each(value: Value) -> list[Value]:
    """The value of each process, in all of them, in their order; trees as of `from_first`."""
    if not several():
        return [value]
    return [_from(number, lambda: value) for number in range(jax.process_count())]


def _from(source: int, make: Callable[[], Value]) -> Value:
    skeleton, arrays, value = None, {}, None
    own = jax.process_index() == source
    if own:
        value = make()
        skeleton, arrays = pack(value)
    kinds = {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()}
    header = json.loads(_sent(json.dumps([skeleton, kinds]).encode(), source))
    found = {}
    for name, (kind, shape) in header[1].items():
        data = arrays[name].reshape(-1).view(np.uint8).tobytes() if own else b''
        # A copy: what comes back from bytes could not be written to.
        found[name] = (
            np.frombuffer(_sent(data, source), jax.numpy.dtype(kind)).reshape(shape).copy()
        )
    sent: Any = value if own else unpack(header[0], found)
    return sent


def _sent(data: bytes, source: int) -> bytes:
    """The bytes of one process, in all of them."""
    from jax.experimental import multihost_utils

    send = functools.partial(
        multihost_utils.broadcast_one_to_all, is_source=jax.process_index() == source
    )
    sizes = send(np.array(divmod(len(data), PIECE), np.int32))
    size, pieces = int(sizes[0]) * PIECE + int(sizes[1]), []
    for start_at in range(0, size, PIECE):
        # Of one of few lengths, because each is a program of its own.
        room = min(PIECE, 1 << (size - start_at - 1).bit_length())
        piece = np.zeros(room, np.uint8)
        own = np.frombuffer(data[start_at : start_at + PIECE], np.uint8)
        piece[: len(own)] = own
        pieces.append(np.asarray(send(piece)))
    return b''.join(piece.tobytes() for piece in pieces)[:size]
