"""Labels that say how alike two texts are: a number a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.data.labels.label_kind import Where
from ftjax.data.labels.similar_texts import USUAL, VECTOR, columns_of_texts
from ftjax.data.labels.values import Values
from ftjax.errors import UserError


class TextScores(Values):
    """float32 (N,), the cosine that the vectors of two texts should have."""

    standardised = False
    head, form, network_options = 'vector', 'apart', VECTOR
    usual_columns = USUAL
    label_columns = ('score', 'similarity_score', 'similarity')

    def texts_of(self, columns: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
        """The two texts, as of a task of texts that belong together."""
        return columns_of_texts(columns, given)

    def of_inputs(self, inputs: Any, labels: np.ndarray, where: Where) -> np.ndarray:
        """As they are, if each is of two texts."""
        for row, texts in enumerate(inputs):
            count = 1 if isinstance(texts, str) else len(texts)
            if count != 2:
                raise UserError(
                    f'{where(row)}: texts: {count}; expected two that the score compares '
                    "(data.text_columns=('sentence1','sentence2'))"
                )
        return labels

    def outputs(self, class_names: Sequence[str]) -> int:
        """0: the numbers of a vector are the network's own affair."""
        return 0

    def check_training(self, name: str, labels: np.ndarray, class_names: tuple[str, ...]) -> None:
        """Numbers that a cosine can be."""
        if len(labels) and np.abs(labels).max() > 1:
            raise UserError(
                f'{name}: scores go up to {np.abs(labels).max():g}, and a cosine to 1; say by '
                f'data.label_scale what they are divided by (5 of STS-B)'
            )
