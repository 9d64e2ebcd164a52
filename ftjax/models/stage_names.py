"""Names of stages and what they say: section and index."""

from __future__ import annotations


def place(block: str) -> tuple[int, int]:
    """(stage, block within it), both from 0, of a name as stage1_block0."""
    stage, index = block.removeprefix('stage').split('_block')
    return int(stage) - 1, int(index)


def sections(blocks: tuple[str, ...], first: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The blocks grouped by stage, with `first` at the head of the first group."""
    count = 1 + place(blocks[-1])[0]
    groups = [tuple(b for b in blocks if place(b)[0] == stage) for stage in range(count)]
    return ((*first, *groups[0]), *groups[1:])
