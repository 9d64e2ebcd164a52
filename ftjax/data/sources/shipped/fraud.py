"""Drawn card payments, 1 % of them fraud: `fraud`, `fraud:COUNT`."""

from __future__ import annotations

from ftjax.data.dataset import Dataset
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import Parts
from ftjax.data.synthetic.payments import payments
from ftjax.errors import UserError

COUNT, SEED = 10_000, 0


def read(argument: str, settings: DataSettings) -> Parts:
    """A table of 6 numbers, of which a balance may be missing, and 2 categories.

    Raises:
      UserError: a count that is none, or too small for both classes in each split.
    """
    if argument and not (argument.isdecimal() and 1000 <= int(argument) <= 10**7):
        raise UserError(f'data.source fraud:{argument}: expected a count from 1000 to 10000000')
    kind = settings.label_kind
    if not kind.one_class and not kind.from_inputs:
        raise UserError("data.source 'fraud' has classes; data.task must have them too")
    table, labels = payments(int(argument or COUNT), SEED)
    data = Dataset(
        name=settings.source,
        kind='table',
        inputs=table,
        labels=labels,
        class_names=(settings.class_names or ('payment', 'fraud')) if kind.named else (),
        task=settings.task,
        ids=[f'payment_{i:07d}' for i in range(len(labels))],
    )
    return Parts(train=data)
