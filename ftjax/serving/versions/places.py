"""A path or a URL as a store."""

from __future__ import annotations

import pathlib
import re

from ftjax.errors import UserError, shown
from ftjax.serving.versions.local_store import LocalStore
from ftjax.serving.versions.remote_store import RemoteStore
from ftjax.serving.versions.version_store import Store

_SCHEME = re.compile(r'([A-Za-z0-9+.-]+)(://|::)')
_ONE_SLASH = re.compile(r'[A-Za-z0-9+.-]{2,}:/(?!/)')
"""A URL with a slash too few, which would be a folder of the strangest name."""


def open_store(url: str) -> Store:
    """The store at a path or a URL, which need not be there yet.

    Raises:
      UserError: no such scheme, or a package for it is missing.
    """
    if not url.strip() or '\0' in url:
        raise UserError('--registry is empty; expected a folder, or a URL such as s3://bucket/path')
    found = _SCHEME.match(url)
    if found is None and _ONE_SLASH.match(url):
        raise UserError(
            f'--registry is {shown(url)}; expected a folder, or a URL with two slashes after the '
            'colon: s3://bucket/path'
        )
    if found is None or found[1] in ('file', 'local'):
        path = url if found is None or found[2] == '::' else url[found.end() :]
        try:
            return LocalStore(pathlib.Path(path).expanduser(), url)
        except RuntimeError as error:  # ~NAME of a user that is not there
            raise UserError(f'--registry is {shown(url)}: {error}') from None
    return RemoteStore(url)
