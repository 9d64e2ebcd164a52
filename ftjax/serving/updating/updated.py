"""What came of an update."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from ftjax.serving.updating.compare_sets import Change


@dataclasses.dataclass(frozen=True, kw_only=True)
class Updated:
    """The candidate, and how it compares with the deployed network."""

    chosen: str
    """The strategy of the candidate."""
    candidate: pathlib.Path
    """Its bundle."""
    validation: dict[str, dict[str, float]]
    """Metric by strategy and validation set; `deployed` is the network as it is."""
    tests: dict[str, tuple[Change, ...]]
    """By strategy: against the deployed network on the test sets."""
    notes: tuple[str, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON, for the registry."""
        rows = {
            name: [dataclasses.asdict(one) | {'verdict': one.verdict} for one in found]
            for name, found in self.tests.items()
        }
        return {'chosen': self.chosen, 'validation': self.validation, 'tests': rows}
