"""Labels that are made from texts: tokens that were hidden and are to be guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ftjax.data.labels.label_kind import LabelKind, Where


class HiddenTokens(LabelKind):
    """Zeros (N,) in a data set; in a batch int32 (B, time), as `hide_tokens` gives them."""

    from_inputs = True
    drawn = True
    head = 'lm'

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Nothing is read: the texts are their own labels."""
        return np.zeros(len(raw), np.float32), ()

    def read_arrays(
        self,
        raw: Mapping[str, np.ndarray],
        where: Callable[[str], str],
        names: tuple[str, ...],
        ignored: int | None = None,
    ) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
        """As `read`."""
        return (), {part: np.zeros(len(values), np.float32) for part, values in raw.items()}

    def outputs(self, class_names: Sequence[str]) -> int:
        """0: their number is the vocabulary's, and a language model's own affair."""
        return 0

    def shapes(self, examples: int, outputs: int, inputs: Any) -> tuple[object, object]:
        """One label a token."""
        each = inputs['input_ids'].shape
        return jax.ShapeDtypeStruct(each, np.int32), jax.ShapeDtypeStruct(each, np.float32)

    def hidden(self, texts: Any, indices: np.ndarray, length: int, draw: Any) -> Any:
        """The texts with tokens hidden, and these."""
        return texts.masked(indices, length, draw and draw[:2])
