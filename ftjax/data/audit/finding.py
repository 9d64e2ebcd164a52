"""What a check of the audit says: a sentence, how grave it is, and what to do about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ftjax.data.exclude import ACTIONS

SEVERITIES = ('error', 'warning', 'note')
"""`error`: a score or a label is wrong as it stands; `warning`: it may be; `note`: to be known."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One example of a finding; positions are those of `Examples`."""

    position: int
    action: str = 'review'
    """What is proposed: one of `ACTIONS`."""
    label: str = ''
    """The label that is proposed, of `relabel`."""
    partner: int | None = None
    """The example that it is a copy of."""
    detail: str = ''
    """What was measured."""

    def __post_init__(self):
        assert self.action in ACTIONS


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    """Its name: 'copies of training', 'label conflicts', .."""
    severity: str
    message: str
    """One sentence with counts."""
    rows: tuple[Row, ...] = ()
    measured: float | None = None
    """The number that the check is about, where it is one."""


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by severity; the order of the checks is kept within one."""
    return tuple(sorted(findings, key=lambda each: SEVERITIES.index(each.severity)))


def counted(count: int, one: str, several: str = '') -> str:
    """`1 example`, `1,200 examples`.

    >>> counted(1, 'class', 'classes'), counted(1200, 'example')
    ('1 class', '1,200 examples')
    """
    return f'{count:,} {one if count == 1 else several or one + "s"}'
