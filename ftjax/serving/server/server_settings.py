"""How a server behaves: address, batches, limits. Checked once, before the bundle is opened."""

from __future__ import annotations

import dataclasses
import os

from ftjax.errors import UserError
from ftjax.io.files.regular_files import read_bytes

LOOPBACK = '127.0.0.1'
MOST_RUNNERS = 64
"""Batches at once, at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Settings of one server; sizes in bytes, times in seconds unless their names say otherwise."""

    host: str = LOOPBACK
    """Only this machine reaches it, unless another address is asked for."""
    port: int = 8000
    batch_sizes: tuple[int, ...] = (1, 8, 32)
    """Examples a batch that programs are compiled for, ascending."""
    runners: int = 0
    """Batches that may run at once; 0 for one a core of a CPU (at most 8), 1 on an accelerator."""
    latency_ms: float = 2.0
    """How long the first example of a batch waits for others, in milliseconds."""
    queue: int = 512
    """Examples that are being read, wait or run at once; more are answered with 429."""
    timeout: float = 10.0
    """For a request, from its first byte to its answer."""
    max_bytes: int = 8 * 2**20
    """Of a request."""
    max_held: int = 2**28
    """Of all requests that are not answered yet, together; more are answered with 429."""
    max_inputs: int = 64
    """Of a request."""
    max_characters: int = 100_000
    """Of a text."""
    max_pixels: int = 2**24
    """Of an image file, before it is unpacked."""
    token: str = dataclasses.field(default='', repr=False)
    """What clients say as `Authorization: Bearer ..`; '' for nothing."""

    def __post_init__(self):
        sizes = self.batch_sizes
        if not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] > 4096:
            raise UserError(
                f'batch_sizes is {list(sizes)}; expected ascending numbers from 1 to 4096'
            )
        if not 0 <= self.port < 2**16:
            raise UserError(f'port is {self.port}; expected 0 to 65535 (0 for any that is free)')
        if not 0 <= self.runners <= MOST_RUNNERS:
            raise UserError(f'runners is {self.runners}; expected 0 to {MOST_RUNNERS}')
        if not 0 <= self.latency_ms <= 60_000:
            raise UserError(f'latency_ms is {self.latency_ms:g}; expected 0 to 60000')
        if not 0 < self.timeout <= 86_400:
            raise UserError(f'timeout is {self.timeout:g}; expected above 0, at most 86400')
        for name in ('queue', 'max_bytes', 'max_inputs', 'max_characters', 'max_pixels'):
            if not getattr(self, name) > 0:
                raise UserError(f'{name} is {getattr(self, name):g}; expected above 0')
        if self.max_held < self.max_bytes:
            raise UserError(
                f'max_held={self.max_held} never holds a request of max_bytes={self.max_bytes}'
            )
        if self.max_inputs > self.queue:
            raise UserError(
                f'a queue of {self.queue} never holds a request of max_inputs={self.max_inputs}'
            )
        if self.token and (len(self.token) < 16 or not self.token.isascii()):
            raise UserError('the token is short, or not ASCII; expected 16 characters or more')


def read_token(path: str | None) -> str:
    """The token in a file, or that of $FTJAX_TOKEN; '' for none.

    It is no flag: every user of a machine sees the flags of all processes.
    """
    if path is None:
        return os.environ.get('FTJAX_TOKEN', '').strip()
    try:
        token = read_bytes(path, 4096).decode('ascii').strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path}: no token can be read from it ({error})') from None
    if not token:
        raise UserError(f'{path} is empty; expected a token')
    return token
