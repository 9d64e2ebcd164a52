"""The load report: what was done with every tensor and every leaf."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from ftjax.leaves import stage_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Each leaf is in exactly one of loaded, transformed, initialised; each source tensor went
    into one of the first two or is in skipped.
    """

    source: str
    family: str
    loaded: dict[str, str] = dataclasses.field(default_factory=dict)
    """Leaf key -> the tensor it is, bit for bit."""
    transformed: dict[str, str] = dataclasses.field(default_factory=dict)
    """Leaf key -> the tensor and what was done to it (layout, split, resize, dtype)."""
    initialised: dict[str, str] = dataclasses.field(default_factory=dict)
    """Leaf key -> why the checkpoint did not provide it."""
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    """Tensor -> why it was left out."""
    head: str = 'none'
    """'kept', 'new', or 'none' for a network without one."""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A plain dict, as written to a run's load_report.json."""
        return {**dataclasses.asdict(self), 'notes': list(self.notes)}

    def summary(self) -> str:
        """One line: how many of each.

        >>> LoadReport(source='x', family='vit', loaded={'params/a': 'a'}).summary()
        'vit from x: 1 loaded, 0 transformed, 0 initialised, 0 skipped; head none'
        """
        counts = ', '.join(
            f'{len(getattr(self, kind))} {kind}'
            for kind in ('loaded', 'transformed', 'initialised', 'skipped')
        )
        return f'{self.family} from {self.source}: {counts}; head {self.head}'

    def table(self) -> str:
        """Several lines: the summary, counts by stage, and every exception by name."""
        kinds = ('loaded', 'transformed', 'initialised')
        counts = {kind: Counter(map(stage_of, getattr(self, kind))) for kind in kinds}
        stages = list(dict.fromkeys(stage_of(k) for kind in kinds for k in getattr(self, kind)))
        width = max([5, *map(len, stages)])
        lines = [self.summary(), f'{"stage":{width}}' + ''.join(f'{kind:>13}' for kind in kinds)]
        lines += [
            f'{stage:{width}}' + ''.join(f'{counts[kind][stage]:>13}' for kind in kinds)
            for stage in stages
        ]
        lines += [f'initialised {key}: {why}' for key, why in self.initialised.items()]
        lines += [f'resized {k}: {how}' for k, how in self.transformed.items() if 'resized' in how]
        lines += [f'skipped {name}: {why}' for name, why in self.skipped.items()]
        return '\n'.join(lines + [f'note: {note}' for note in self.notes])
