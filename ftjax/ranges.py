"""Which numbers a setting takes, said beside its type: `epochs: Annotated[float, above(0)]`.

`ftjax.field_types.check_fields` reads the ranges and refuses what lies outside.
"""

from __future__ import annotations

import dataclasses
import numbers

LARGEST_INT = 2**31 - 1
"""JAX counts steps, rows and seeds in 32 bits."""
LARGEST_FLOAT = 3.4e38
"""About the largest that float32 holds: what is larger becomes infinite on the device."""


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers between two ends. NaN and infinities are in no range."""

    low: float
    high: float | None = None
    """None for as large as the type allows."""
    low_belongs: bool = True
    high_belongs: bool = True
    name: str = ''
    """What the number is, in place of 'a number' or 'a whole number' in messages."""

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range.

        >>> above(0).holds(0), above(0).holds(1e-9), above(0).holds(float('nan'))
        (False, True, False)
        """
        above_low = value >= self.low if self.low_belongs else value > self.low
        top = self.top(value)
        below_high = value <= top if self.high_belongs or self.high is None else value < top
        return bool(above_low and below_high)

    def top(self, value: float | None) -> float:
        """The upper end for a number of the kind of `value`."""
        if self.high is not None:
            return self.high
        return LARGEST_INT if isinstance(value, numbers.Integral) else LARGEST_FLOAT

    def text(self, value: object = None) -> str:
        """The range in words; the end that its type sets is named where `value` is beyond it.

        >>> str(at_least(1)), str(between(0, 1, ends='low'))
        ('at least 1', 'at least 0 and below 1')
        """
        low = f'at least {self.low:g}' if self.low_belongs else f'above {self.low:g}'
        high = self.high
        if high is None:
            if not isinstance(value, (int, float)) or not value > self.top(value):
                return low
            high = self.top(value)
        shown = str(high) if isinstance(high, int) else f'{high:g}'
        return f'{low} and {"at most" if self.high_belongs else "below"} {shown}'

    def __str__(self) -> str:
        return self.text()


def at_least(low: float, name: str = '') -> Range:
    """`low` and larger."""
    return Range(low, name=name)


def above(low: float, name: str = '') -> Range:
    """Larger than `low`."""
    return Range(low, low_belongs=False, name=name)


def between(low: float, high: float, ends: str = 'both', name: str = '') -> Range:
    """From `low` to `high`; of the ends belong `both`, `low`, `high` or `none`."""
    return Range(low, high, ends in ('both', 'low'), ends in ('both', 'high'), name)
