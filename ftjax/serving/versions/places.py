"""A path or a URL as a store."""

from __future__ import annotations

import pathlib
import re

from ftjax.errors import UserError
from ftjax.serving.versions.local_store import LocalStore
from ftjax.serving.versions.remote_store import RemoteStore
from ftjax.serving.versions.version_store import Store

_SCHEME = re.compile(r'([A-Za-z0-9+.-]+)(://|::)')


def open_store(url: str) -> Store:
    """The store at a path or a URL, which need not be there yet.

    Raises:
      UserError: no such scheme, or a package for it is missing.
    """
    if not url or '\0' in url:
        raise UserError('--registry is empty; expected a folder, or a URL such as s3://bucket/path')
    found = _SCHEME.match(url)
    if found is None or found[1] in ('file', 'local'):
        path = url if found is None or found[2] == '::' else url[found.end() :]
        return LocalStore(pathlib.Path(path).expanduser(), url)
    return RemoteStore(url)
