"""What a strategy that looks at the data decided, when, and on what evidence."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.io.json.json_values import JsonObject


@dataclasses.dataclass(frozen=True)
class Choice:
    """From step `step` on: a weight for every leaf that may train, and perhaps for entries."""

    step: int
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """By leaf: a factor of its learning rate; 0 freezes it, 1 where absent."""
    evidence: JsonObject = dataclasses.field(default_factory=dict)
    """The numbers behind it, as plain values; `by_stage`, where it is given, is drawn."""
    entries: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, compare=False)
    """By leaf: a bool array of its shape; entries that are False stay as they are."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; of the entries, how many of each leaf are open."""
        return {
            'step': self.step,
            'weights': dict(self.weights),
            'evidence': dict(self.evidence),
            'open_entries': {path: int(mask.sum()) for path, mask in self.entries.items()},
        }

    def to_saved(self) -> dict[str, object]:
        """What a checkpoint holds; the inverse of from_saved."""
        # As text, because a checkpoint does not keep the order of keys.
        told = {'weights': dict(self.weights), 'evidence': dict(self.evidence)}
        return {
            'step': self.step,
            'told': json.dumps(told, default=float),
            'entries': dict(self.entries),
        }

    @classmethod
    def from_saved(cls, saved: JsonObject) -> Choice:
        """A choice from a checkpoint."""
        entries = {path: np.asarray(mask, bool) for path, mask in saved['entries'].items()}
        told = json.loads(saved['told']) if 'told' in saved else saved
        return cls(int(saved['step']), told['weights'], told['evidence'], entries)
