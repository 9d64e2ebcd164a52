"""A table of learned scores for offsets, one a head, that attention adds."""

from __future__ import annotations

import flax.linen as nn


class ScoreTable(nn.Module):
    """The leaf itself: params table (rows, heads)."""

    rows: int
    heads: int

    @nn.compact
    def __call__(self):
        return self.param('table', nn.initializers.normal(0.02), (self.rows, self.heads))
