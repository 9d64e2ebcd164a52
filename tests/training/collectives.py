"""What devices exchange in a compiled program, read off its text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

KINDS = (
    'all-reduce',
    'all-gather',
    'reduce-scatter',
    'all-to-all',
    'collective-permute',
    'collective-broadcast',
)
_BITS = {'pred': 8, 's4': 4, 'u4': 4, 'bf16': 16}


def collectives(text: str) -> list[tuple[str, int]]:
    """(kind, bytes of its result) of every collective in optimised HLO, a loop's body once.

    Args:
      text: `compiled.as_text()`.

    >>> collectives('%r = (f32[8,4]{1,0}, /*index=1*/f32[]) all-reduce(%a, %b), channel_id=1')
    [('all-reduce', 132)]
    """
    found = []
    for result, kind, started in _CALL.findall(text):
        sizes = list(_sizes(result))
        if started and kind != 'all-reduce':
            sizes = sizes[len(sizes) // 2 :]  # operands come first, then results
        found.append((kind, sum(sizes)))
    return found


_CALL = re.compile(rf'= (\(.*?\)|\S+) ({"|".join(KINDS)})(-start)?\(')


def _sizes(shapes: str) -> Iterator[int]:
    for dtype, sides in re.findall(r'([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]', shapes):
        bits = _BITS.get(dtype) or int(re.sub(r'^[a-z]+(\d+).*', r'\1', dtype))
        yield math.prod(int(side) for side in sides.split(',') if side) * bits // 8
