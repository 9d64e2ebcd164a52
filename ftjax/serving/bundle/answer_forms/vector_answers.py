"""The vector of a text at length 1, and how alike the vectors of two texts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.evaluation.unit_vectors import pair_cosines, unit
from ftjax.serving.bundle.answer_forms.answer_form import (
    Answer,
    AnswerForm,
    Told,
    check_outputs_finite,
)
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.signature import Signature


class VectorAnswers(AnswerForm):
    """Outputs are vectors, one a text."""

    texts = 1
    gives = 'a vector of length 1'
    asks = 'each input a text'

    def of_example(self, example: Any) -> Any:
        """The first of the texts that belong together."""
        return example if isinstance(example, str) else example[0]

    def answer(
        self, outputs: Sequence[np.ndarray], given: InputRows, signature: Signature
    ) -> Answer:
        """`vector`: numbers whose squares add up to 1."""
        (vector,) = outputs
        check_outputs_finite(vector)
        return {'vector': np.asarray(unit(vector)).tolist()}

    def told(self, answer: Mapping[str, Any]) -> Told:
        """The first number: a vector has no answer in short."""
        return Told('', answer['vector'][0])


class CosineAnswers(AnswerForm):
    """Outputs are vectors of two texts."""

    texts = 2
    example = "['a text', 'another']"
    gives = 'the cosine of the vectors of two texts'
    asks = 'each input a list of two texts'
    lines = 'Two texts, a line each'

    def answer(
        self, outputs: Sequence[np.ndarray], given: InputRows, signature: Signature
    ) -> Answer:
        """`predicted`: the cosine, from -1 to 1."""
        vectors = np.stack(outputs)
        check_outputs_finite(vectors)
        return {'predicted': float(pair_cosines(vectors[None])[0])}

    def told(self, answer: Mapping[str, Any]) -> Told:
        """The cosine."""
        return Told(f'{answer["predicted"]:.6g}', answer['predicted'])
