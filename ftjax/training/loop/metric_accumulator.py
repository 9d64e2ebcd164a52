"""The numbers of the steps since the last validation: the row of metrics.jsonl being made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ftjax.io.json.json_values import JsonObject


@dataclasses.dataclass
class MetricAccumulator:
    """Losses and gradient norms of a row, and the steps skipped as not finite so far."""

    allowed: int = 0
    """Steps of the whole run that may be skipped: `config.train.skip_bad`."""
    losses: list[float] = dataclasses.field(default_factory=list)
    norms: list[float] = dataclasses.field(default_factory=list)
    skipped: int = 0
    """In the whole run."""
    skipped_in_row: int = 0

    @property
    def due(self) -> bool:
        """Whether steps have been made that no row tells of."""
        return bool(self.losses or self.skipped_in_row)

    @property
    def skips_left(self) -> int:
        """How many more steps may be skipped; 0 where a run goes on with fewer than it skipped."""
        return max(self.allowed - self.skipped, 0)

    def add(self, losses: Sequence[float], norms: Sequence[float]) -> tuple[list[int], int | None]:
        """Takes the steps of a call in: (those skipped, the one that the call stopped at).

        Both count from the call's first step; None where the call went through.

        >>> MetricAccumulator(allowed=1).add([1.0, math.nan, math.inf, 2.0], [1.0, 1.0, 1.0, 1.0])
        ([1], 2)
        """
        skipped = []
        for number, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
            if math.isfinite(loss) and math.isfinite(norm):
                self.losses.append(loss)
                self.norms.append(norm)
                continue
            if not self.skips_left:
                return skipped, number
            self.skipped += 1
            self.skipped_in_row += 1
            skipped.append(number)
        return skipped, None

    def finish(self) -> dict[str, float | None]:
        """The row's numbers; the next row begins."""
        row: dict[str, float | None] = {
            'train_loss': float(np.mean(self.losses)) if self.losses else None,
            'grad_norm': float(np.mean(self.norms)) if self.norms else None,
        }
        if self.allowed:
            row['skipped'] = self.skipped_in_row
        self.losses, self.norms, self.skipped_in_row = [], [], 0
        return row

    def to_saved(self) -> dict[str, object]:
        """What a checkpoint holds; the inverse of from_saved."""
        return {
            'losses': np.asarray(self.losses, np.float64),
            'norms': np.asarray(self.norms, np.float64),
            'skipped': self.skipped,
            'skipped_in_row': self.skipped_in_row,
        }

    @classmethod
    def from_saved(cls, saved: JsonObject, allowed: int) -> MetricAccumulator:
        """From a checkpoint."""
        return cls(
            allowed,
            saved['losses'].tolist(),
            saved['norms'].tolist(),
            saved['skipped'],
            saved['skipped_in_row'],
        )
