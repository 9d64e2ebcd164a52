"""Results that lie at a URL, as a folder to read from."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

from ftjax.ablation.leaderboard.settings_found import REPORT
from ftjax.ablation.leaderboard.submissions import CONFIG, SEAL
from ftjax.ablation.publishing.published_files import NOTES, ROWS
from ftjax.errors import UserError
from ftjax.io.files.atomic import write_bytes
from ftjax.io.files.url_folder import UrlFolder, is_url

READ = (ROWS, *NOTES, REPORT, SEAL, CONFIG)
"""What tables are made from: rows and what stands beside them, here and in folders below."""


@contextlib.contextmanager
def results_at(place: str, flag: str) -> Iterator[pathlib.Path]:
    """A folder that holds what tables are made from; a temporary one for a URL.

    Args:
      place: a folder, which is given as it is, or a URL.
      flag: that gave it, for messages.

    Raises:
      UserError: the URL cannot be read, or holds no rows.
    """
    if not is_url(place):
        yield pathlib.Path(place)
        return
    remote = UrlFolder(place, flag)
    names = remote.below(READ)
    if not any(name.rpartition('/')[2] == ROWS for name in names):
        raise UserError(f'{flag}={remote.url} holds no {ROWS}')
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            write_bytes(pathlib.Path(folder) / name, remote.read(name) or b'')
        yield pathlib.Path(folder)
