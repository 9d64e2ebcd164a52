"""A sample of inputs as files, only where it was asked for: a folder of bounded size."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import numpy as np

from ftjax.errors import UserError

FILES, BYTES = 2000, 256 * 2**20
"""Most that the folder holds, with what was there at the start; then no more is kept."""
_KINDS = {b'\x89PNG': 'png', b'\xff\xd8\xff': 'jpg', b'GIF8': 'gif', b'RIFF': 'webp', b'BM': 'bmp'}


class KeptInputs:
    """Writes a share of the inputs to a folder that only its owner can read."""

    def __init__(self, folder: pathlib.Path, rate: float, server: str, seed: int):
        """`rate` is the probability with which an input is kept; 0 makes no folder.

        Raises:
          UserError: a rate outside 0 to 1, or a folder that cannot be made or read.
        """
        if not 0 <= rate <= 1:
            raise UserError(f'keep_inputs is {rate:g}; expected a share from 0 to 1')
        self.folder, self.rate, self.server = folder, rate, server
        self.files, self.bytes = 0, 0
        self._random = np.random.default_rng(seed)
        if rate:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                os.chmod(folder, 0o700)
                sizes = [path.lstat().st_size for path in folder.iterdir()]
            except OSError as error:
                raise UserError(f'{folder} cannot be made or read: {error.strerror}') from error
            self.files, self.bytes = len(sizes), sum(sizes)

    def chosen(self) -> bool:
        """Whether the next input is kept."""
        return bool(self.rate) and self.files < FILES and self._random.random() < self.rate

    def write(self, raw: Any, name: str) -> None:
        """Keeps an input: an image as its file or as .npy, other inputs as JSON.

        Args:
          raw: as a request held it.
          name: request and number; what is no letter or digit becomes an underscore.
        """
        data, ending = _file(raw)
        if self.bytes + len(data) > BYTES:
            return
        safe = ''.join(c if c.isascii() and c.isalnum() else '_' for c in name)[:80]
        path = self.folder / f'{self.server}_{self.files:04d}_{safe}.{ending}'
        self.files += 1
        self.bytes += len(data)
        # Never through a link, never over a file.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_NOFOLLOW', 0)
        with os.fdopen(os.open(path, flags, 0o600), 'wb') as file:
            file.write(data)


def _file(raw: Any) -> tuple[bytes, str]:
    if isinstance(raw, bytes):
        return raw, next((e for head, e in _KINDS.items() if raw.startswith(head)), 'bin')
    if isinstance(raw, np.ndarray):
        import io

        made = io.BytesIO()
        np.save(made, raw, allow_pickle=False)
        return made.getvalue(), 'npy'
    return json.dumps(raw, ensure_ascii=False).encode(), 'json'
