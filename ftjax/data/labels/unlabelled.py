"""Examples without labels: what a network is asked about."""

from __future__ import annotations

from collections.abc import Sequence

from ftjax.data.labels.label_kind import LabelKind


class Unlabelled(LabelKind):
    """Zeros (N,) in a data set; nothing reads them."""

    def outputs(self, class_names: Sequence[str]) -> int:
        """0: their number is the network's affair."""
        return 0
