"""How often intervals miss, as measured on simulated grids of the size that a grid has.

error_rates.json is made by `python scripts/benchmark.py verdicts`: objects {arms, seeds, grids,
equal, unequal}; the last two are shares of grids in which one interval or more missed.
"""

from __future__ import annotations

import functools
import math
import pathlib
from typing import Any

from ftjax.io.files.atomic import read_json
from ftjax.io.json.json_values import JsonObject

FILE = pathlib.Path(__file__).with_suffix('.json')


def error_rates(arms: int, seeds: int) -> dict[str, Any]:
    """The rates at the nearest size that was simulated.

    Args:
      arms: besides the reference.
    """

    def distance(row: JsonObject) -> float:
        return abs(math.log(row['arms'] / arms)) + abs(math.log(row['seeds'] / seeds))

    return min(measured(), key=distance)


def rate_sentence(arms: int, seeds: int, confidence: float) -> str:
    """The rates in a sentence for the foot of a table; '' where there are no intervals."""
    if arms < 1 or seeds < 2 or round(confidence, 3) != 0.95:
        return ''
    found = error_rates(arms, seeds)
    return (
        f'Measured on {found["grids"]} simulated grids of {_many(found["arms"], "arm")} beside the '
        f'reference and {_many(found["seeds"], "seed")}: one of the 95 % intervals or more missed '
        f'in {100 * found["equal"]:.1f} % of grids with equal variances, in '
        f'{100 * found["unequal"]:.1f} % with unequal ones (standard deviations log-normal, '
        'spread 0.5), where 5 % are promised (results/statistics).'
    )


def _many(count: int, word: str) -> str:
    return f'{count} {word}{"" if count == 1 else "s"}'


@functools.cache
def measured() -> list[dict[str, object]]:
    """All sizes that were simulated."""
    return read_json(FILE)
