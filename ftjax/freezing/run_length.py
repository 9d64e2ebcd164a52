"""How long a run is: what turns '30%' and '2 epochs' into a step."""

from __future__ import annotations

import dataclasses
import re

from ftjax.errors import UserError

LIMIT = 1e12
"""Of a run's steps: beyond it a number cannot be meant."""
UNTIL = re.compile(r'\s*([0-9.eE+-]+)\s*(%|percent|epochs?|steps?)\s*')


@dataclasses.dataclass(frozen=True)
class RunLength:
    """The steps of a run, and of one pass over its training data."""

    steps: int = 1000
    steps_per_epoch: int = 100

    @property
    def epochs(self) -> float:
        """Passes over the training data."""
        return self.steps / self.steps_per_epoch

    def epoch(self, number: float) -> int:
        """The step at which epoch `number` (0, .5, 1 ..) begins."""
        return round(number * self.steps_per_epoch)

    def share(self, part: float) -> int:
        """The step at which a share (0 to 1) of the run is done."""
        return round(part * self.steps)

    def read(self, text: str | int | None, what: str = 'until') -> int:
        """Steps from '30%', '2 epochs', '100 steps', a number of steps, or None for the end.

        >>> [RunLength(200, 10).read(text) for text in ('30%', '2.5 epochs', '100 steps', None)]
        [60, 25, 100, 200]
        """
        if text is None:
            return self.steps
        if isinstance(text, int):
            return text
        found = UNTIL.fullmatch(str(text))
        try:
            number = float(found[1]) if found else None
        except ValueError:
            number = None
        if found is None or number is None or not 0 <= number < LIMIT:
            raise UserError(f"{what} is {text!r}; expected '30%', '2 epochs', '100 steps' or None")
        if found[2] in ('%', 'percent'):
            return self.share(number / 100)
        return self.epoch(number) if found[2].startswith('epoch') else round(number)
