"""One checkpoint of a run, RUN/checkpoints/STEP: what training has changed so far.

Read are the trainable leaves (their moving average, where the run keeps one), those that trained
in earlier phases, and running statistics; the optimizer's state is left where it is.
"""

from __future__ import annotations

import pathlib

import numpy as np

from ftjax.io.files.saved_step import SavedStep, Stored
from ftjax.pretrained.readers.tensor_source import Header, TensorSource

PARTS = (
    ('closed', 'params', 'params'),
    ('closed', 'batch_stats', 'stats'),
    ('state', 'params', 'trainable'),
    ('state', 'params', 'ema'),
    ('state', 'batch_stats', 'stats'),
)
"""(item, collection, its name in the item); what comes later in this list wins."""


class OrbaxStep(TensorSource):
    """Leaves of one checkpoint by key, 'params/head/dense/kernel'."""

    def __init__(self, path: str | pathlib.Path):
        """Reads manifest and headers; UserError if they are damaged or of a later version."""
        self.path = pathlib.Path(path).absolute()
        self.saved = SavedStep(self.path)
        self._stored: dict[str, Stored] = {}
        for item, collection, part in PARTS:
            for key, leaf in entries(entries(self.saved.items.get(item)).get(part)).items():
                if isinstance(leaf, Stored):
                    self._stored[f'{collection}/{key}'] = leaf
        items = sorted({leaf.item for leaf in self._stored.values()})
        headers = {item: self.saved.headers(item) for item in items}
        self.headers = {}
        for key, leaf in self._stored.items():
            if leaf.number not in headers[leaf.item]:
                raise self.saved.damaged(f'{key} is missing')
            self.headers[key] = Header(*headers[leaf.item][leaf.number])

    def read(self, name: str) -> np.ndarray:
        """One leaf; UserError if it is not what was saved."""
        return self.saved.arrays([(name, self._stored[name])])[0]


def entries(node: object) -> dict:
    """A dict as it is; {} for anything else."""
    return node if isinstance(node, dict) else {}
