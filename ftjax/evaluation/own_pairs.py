"""What one of several processes answered: a marker, so that who counts adds the others'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Pairs = Iterable[tuple[Any, Mapping[str, Any]]]
"""Outputs of a network, each with the batch that they answer."""


class OwnPairs:
    """(outputs, batch) of the examples of this process alone, padding left out."""

    def __init__(self, pairs: Pairs):
        self._pairs = pairs

    def __iter__(self) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        return iter(self._pairs)


def of_all(pairs: object, own: Any) -> list[Any]:
    """What each process made of its pairs; [own] where the pairs are of the whole split."""
    if not isinstance(pairs, OwnPairs):
        return [own]
    from ftjax.distributed.process_group import from_each  # JAX is slow to import

    return from_each(own)
