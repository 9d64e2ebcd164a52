"""Labels that are made from the rows of a table: features that are hidden, to be guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ftjax.data.labels.label_kind import LabelKind, Where

SHARE = 0.3
"""Of the features of a row that are hidden, rounded; at least one."""
NOT_ASKED = -1
"""What stands for a feature that is not asked for. A feature that is hidden and has exactly this
value is not asked for either."""


class HiddenFeatures(LabelKind):
    """Zeros (N,) in a data set; in a batch float32 (B, features)."""

    from_inputs = True
    drawn = True
    head = 'features'

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Nothing is read: the rows are their own labels."""
        return np.zeros(len(raw), np.float32), ()

    def outputs(self, class_names: Sequence[str]) -> int:
        """0: their number is that of the features, the network's own affair."""
        return 0

    def shapes(self, examples: int, outputs: int, inputs: Any) -> tuple[object, object]:
        """One label a feature."""
        each = jax.ShapeDtypeStruct(inputs['features'].shape, np.float32)
        return each, each

    def hidden(self, texts: Any, indices: np.ndarray, length: int, draw: Any) -> Any:
        """Rows with features replaced by those of other rows, and what stood there.

        `texts` are the features of all rows of the split (N, features): each hidden feature becomes
        that of a random row, so that it stays one that occurs. What is drawn hangs on the row, and
        in training on (seed, step). Source: Bahri et al. 2022, arXiv:2106.15147, section 3.
        """
        rows = texts[indices]
        changed, labels = rows.copy(), np.full(rows.shape, NOT_ASKED, np.float32)
        columns = rows.shape[1]
        for number, index in enumerate(indices):
            rng = np.random.default_rng((*(draw[:2] if draw else ()), int(index)))
            asked = rng.choice(columns, max(1, round(SHARE * columns)), replace=False)
            labels[number, asked] = rows[number, asked]
            changed[number, asked] = texts[rng.integers(len(texts), size=len(asked)), asked]
        return changed, labels
