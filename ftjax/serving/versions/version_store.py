"""Where versions lie: a plain folder, or any place that fsspec knows.

A store has few operations, and one of them decides all: `create` makes a file that was not there,
whole or not at all, and of several who try at once one succeeds. A version exists once its record
was created; so nothing else has to be locked for two publishers to get two numbers.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Collection, Mapping
from typing import Protocol

LARGEST = 2**26
"""Bytes of a record."""


class Store(Protocol):
    """Files below one root, named by relative paths with slashes."""

    url: str
    """As the user wrote it, for messages."""

    def names(self, folder: str) -> list[str]:
        """What lies in a folder, links and hidden files left out; [] where there is none."""
        ...

    def read(self, path: str) -> bytes:
        """A small file; OSError where there is none, or a larger one."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Makes a file; False if there was one already, which stays as it is."""
        ...

    def add_folder(self, source: pathlib.Path, folder: str, files: Mapping[str, int]) -> None:
        """Copies files, by name with their bytes; a folder that is there is made anew."""
        ...

    def local(self, folder: str, files: Mapping[str, int], digest: str) -> pathlib.Path:
        """A folder of this machine that holds the files; they are not checked.

        `digest` names what they hold, for a cache.
        """
        ...

    def forget(self, folder: str, digest: str) -> bool:
        """Drops a copy that `local` kept; False where there was none."""
        ...

    def publishing(self, name: str) -> contextlib.AbstractContextManager[bool]:
        """Held while a version of a model is published.

        What it yields is whether no other publisher can be at work: remains may be removed then.
        """
        ...

    def clean(self, folder: str, kept: Collection[str]) -> None:
        """Removes from a folder what is not kept, and what killed processes left there."""
        ...
