"""Data of another source than a run's, read as the run read its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ftjax.data.user_paths import resolve_path

NOT_OF_OTHERS: Mapping[str, Any] = MappingProxyType({'exclude': '', 'slices': ()})
"""Settings that speak of one source's examples, by names and columns: of others they are not true,
even where names are the same, as row numbers are."""


def same_source(one: str, other: str) -> bool:
    """Whether two texts name the same source, its path written in one way or another.

    >>> same_source('folder:photos', 'folder:./photos/')
    True
    >>> same_source('folder:photos', 'folder:others'), same_source('digits', 'digits:scattered')
    (False, False)
    """
    if one == other:
        return True
    (kind, path), (other_kind, other_path) = (text.partition(':')[::2] for text in (one, other))
    if kind != other_kind or not path or not other_path:
        return False
    return resolve_path(path).resolve() == resolve_path(other_path).resolve()
