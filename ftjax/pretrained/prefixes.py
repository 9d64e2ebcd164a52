"""Prefixes that wrappers leave on tensor names: `module.` of DDP, `_orig_mod.` of compile, .."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ftjax.pretrained.readers import TensorSource

Explained = Callable[[Sequence[str]], int]
"""How many of these names are explained."""


class Unprefixed(TensorSource):
    """A source whose names all begin with a prefix, without it."""

    def __init__(self, source: TensorSource, prefix: str):
        self.path = source.path
        self.headers = {name.removeprefix(prefix): h for name, h in source.headers.items()}
        self._source, self._prefix = source, prefix

    def file_of(self, name: str) -> str:
        return self._source.file_of(self._prefix + name)

    def change_of(self, name: str) -> str:
        return self._source.change_of(self._prefix + name)

    def read(self, name: str) -> np.ndarray:
        return self._source.read(self._prefix + name)


def without_prefix(source: TensorSource, explained: Explained) -> tuple[TensorSource, str]:
    """The source without the prefix that all its names share, if more are explained so.

    A prefix is one or more first parts of the names, up to a dot. Of several the shortest with
    which most names are explained is taken off; '' where none is better than to take off none.
    """
    names = source.names
    best, most = '', None
    for prefix in shared_prefixes(names):
        if most is None:
            most = explained(names)
        if most == len(names):
            break
        count = explained([name.removeprefix(prefix) for name in names])
        if count > most:
            best, most = prefix, count
    return (Unprefixed(source, best), best) if best else (source, '')


def shared_prefixes(names: Sequence[str]) -> Iterator[str]:
    """'module.', 'module._orig_mod.' ..: the prefixes that all names have, shortest first."""
    parts = [name.split('.')[:-1] for name in names]
    prefix = ''
    for column in zip(*parts, strict=False):  # as deep as the shortest name
        if len(set(column)) > 1:
            return
        prefix += f'{column[0]}.'
        yield prefix


def partial_prefix(names: Sequence[str], extra: Sequence[str], explained: Explained) -> str:
    """The prefix of most of a file without which it is explained; '' if there is none.

    Args:
      names: all names of a file.
      extra: those that are not explained.
      explained: how many are, of names.
    """
    first = collections.Counter(name.split('.')[0] for name in extra if '.' in name)
    if not first:
        return ''
    part, _ = first.most_common(1)[0]
    inside = [name for name in extra if name.startswith(f'{part}.')]
    if len(inside) <= len(names) / 2:  # a stray tensor is no matter of prefixes
        return ''
    for prefix in shared_prefixes(inside):
        if explained([name.removeprefix(prefix) for name in inside]) > len(inside) / 2:
            return prefix if any(not name.startswith(prefix) for name in names) else ''
    return ''
