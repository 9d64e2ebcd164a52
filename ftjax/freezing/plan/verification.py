"""The check after every run: what was frozen is bitwise what was loaded, the rest moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from ftjax.io.json.json_values import JsonObject
from ftjax.leaves import flatten


@dataclasses.dataclass(frozen=True)
class Verification:
    """What moved and should not have, and what should have and did not."""

    moved_frozen: tuple[str, ...]
    still_trainable: tuple[str, ...]

    @property
    def frozen_unchanged(self) -> bool:
        """Whether every frozen leaf and statistic is bitwise as it was."""
        return not self.moved_frozen

    @property
    def trainable_changed(self) -> bool:
        """Whether every trainable leaf has moved."""
        return not self.still_trainable


def verify(
    before: JsonObject,
    after: JsonObject,
    trainable: Iterable[str],
    moving_stats: Iterable[str] = (),
    entries: Mapping[str, object] | None = None,
) -> Verification:
    """Compares variables bitwise with what was loaded.

    Args:
      before: variables as loaded.
      after: variables as trained.
      trainable: paths below params that any phase trained.
      moving_stats: stages whose running statistics any phase updated.
      entries: bool arrays by trainable leaf, False where an entry was to stay.
    """
    trainable, moving_stats = set(trainable), set(moving_stats)
    moved, still = [], []
    for collection in before:
        old = flatten(before[collection])
        new = flatten(after[collection])
        for path in old:
            held, mask = np.asarray(old[path]), (entries or {}).get(path)
            same = held.tobytes() == np.asarray(new[path]).tobytes()
            free = (
                path in trainable if collection == 'params' else path.split('/')[0] in moving_stats
            )
            if mask is not None and collection == 'params':
                closed = ~np.asarray(mask)
                if held[closed].tobytes() != np.asarray(new[path])[closed].tobytes():
                    moved.append(f'{collection}/{path} (entries outside its mask)')
            if not free and not same:
                moved.append(f'{collection}/{path}')
            elif free and same and collection == 'params':
                still.append(path)
    return Verification(tuple(moved), tuple(still))
