"""Which of a folder's checkpoints is the best: by a metric that was saved with each."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence

from ftjax.errors import UserError, check_name
from ftjax.training.checkpoints.manifest import DamagedError, metrics_of, read_manifest


class Ranking:
    """The metrics of the checkpoints in a folder, each read once."""

    def __init__(self, folder: pathlib.Path, metric: str | None, mode: str):
        """By `metric`, of which the highest ('max') or the lowest ('min') is best.

        Raises:
          UserError: an unknown mode.
        """
        self.folder, self.metric = folder, metric
        self.mode = check_name(mode, ('max', 'min'), 'checkpoint mode')
        self._known: dict[int, dict[str, float]] = {}

    def ranked(self, steps: Sequence[int]) -> list[int]:
        """Those of `steps` whose metric is known and no NaN, the best first, then the earliest."""
        scores = {step: self.score(step) for step in steps}
        known = {step: score for step, score in scores.items() if score is not None}
        return sorted(known, key=lambda step: (-known[step], step))

    def score(self, step: int) -> float | None:
        """The metric, signed so that higher is better; None where it is missing or NaN."""
        value = (self.metrics(step) or {}).get(self.metric or '', math.nan)
        if math.isnan(value):
            return None
        return value if self.mode == 'max' else -value

    def metrics(self, step: int) -> dict[str, float] | None:
        """The metrics saved with a checkpoint; None if its manifest is damaged."""
        if step not in self._known:
            try:
                found = metrics_of(read_manifest(self.folder / str(step), step))
            except (DamagedError, UserError):
                return None
            self._known[step] = found
        return self._known[step]

    def forget(self, step: int) -> None:
        """A checkpoint is written anew or gone."""
        self._known.pop(step, None)
