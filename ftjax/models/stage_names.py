"""Names of blocks in networks that have stages of several blocks, `stage1_block0`, and back."""

from __future__ import annotations

from collections.abc import Sequence


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
