"""A budget of time, FLOPs or runs, read from text, and what a row has cost of it."""

from __future__ import annotations

import dataclasses
import math
import re

from ftjax.ablation.statistics.row_types import Row
from ftjax.errors import UserError, check_name, shown

SECONDS = {
    **dict.fromkeys(('s', 'sec', 'second', 'seconds'), 1.0),
    **dict.fromkeys(('min', 'minute', 'minutes'), 60.0),
    **dict.fromkeys(('h', 'hour', 'hours'), 3600.0),
    **dict.fromkeys(('d', 'day', 'days'), 86400.0),
}
FLOPS = {'flops': 1.0, 'gflops': 1e9, 'tflops': 1e12, 'pflops': 1e15}
RUNS = {'run': 1.0, 'runs': 1.0}
KINDS = {'seconds': SECONDS, 'flops': FLOPS, 'runs': RUNS}
EXPECTED = "expected a number and a unit, '30 min', '2e15 flops' or '60 runs'"


@dataclasses.dataclass(frozen=True)
class Budget:
    """What may be spent.

    Attributes:
      amount: in units of `kind`.
      kind: 'seconds', of the clock; 'flops', of training steps; 'runs', in which a short run
        counts as its share of a full one.
      text: as it was given.
    """

    amount: float
    kind: str
    text: str

    def cost(self, row: Row, share: float = 1.0) -> float:
        """What a row has cost.

        Args:
          row: of runs.jsonl.
          share: of a full run's length.
        """
        if self.kind == 'runs':
            return share
        if self.kind == 'flops':
            return (row.get('step_flops') or 0.0) * (row.get('steps') or 0)
        return row.get('cell_seconds') or row.get('wall_seconds') or 0.0


def read_budget(text: object, where: str = 'budget') -> Budget:
    """The budget that a text names.

    Raises:
      UserError: no number above 0, or an unknown unit; the nearest one is named.

    >>> read_budget('30 min').amount, read_budget('2e15 flops').kind, read_budget('60runs').amount
    (1800.0, 'flops', 60.0)
    """
    found = re.fullmatch(r'\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*([A-Za-z]*)\s*', str(text))
    if not isinstance(text, str) or found is None:
        raise UserError(f'{where} is {shown(text)}; {EXPECTED}')
    number, unit = float(found.group(1)), found.group(2).lower()
    if not (number > 0 and math.isfinite(number)):
        raise UserError(f'{where} is {shown(text)}; expected more than 0')
    if not unit:
        raise UserError(f'{where} is {shown(text)}, without a unit; {EXPECTED}')
    check_name(unit, [name for units in KINDS.values() for name in units], f'unit of {where}')
    kind = next(kind for kind, units in KINDS.items() if unit in units)
    return Budget(number * KINDS[kind][unit], kind, text.strip())
