"""Names of stages: a part of their sequence; blocks in stages of several, `stage1_block0`."""

from __future__ import annotations

from collections.abc import Sequence

from ftjax.errors import check_name


def stage_slice(stages: Sequence[str], start: str | None, stop: str | None) -> tuple[str, ...]:
    """The names from `start` up to, not including, `stop`; None means the open end."""
    names = list(stages)
    for name in (start, stop):
        if name is not None:
            check_name(name, names, 'stage')
    first = names.index(start) if start is not None else 0
    last = names.index(stop) if stop is not None else len(names)
    return tuple(names[first:last])


def block_names(depths: Sequence[int]) -> tuple[str, ...]:
    """The names of all blocks, from the number of blocks in each stage.

    >>> block_names((1, 2))
    ('stage1_block0', 'stage2_block0', 'stage2_block1')
    """
    counts = enumerate(depths, start=1)
    return tuple(f'stage{s}_block{b}' for s, count in counts for b in range(count))


def place(block: str) -> tuple[int, int]:
    """(stage, block within it), both from 0, of a name as stage1_block0."""
    stage, index = block.removeprefix('stage').split('_block')
    return int(stage) - 1, int(index)
