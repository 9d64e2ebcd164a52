"""Classes with probabilities, or values: what a network answers to a whole input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.serving.bundle.answer_forms.answer_form import Answer, AnswerForm, Told
from ftjax.serving.bundle.answer_rows import answer_rows
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.signature import Signature


class ClassAnswers(AnswerForm):
    """See `answer_rows`."""

    def answer(
        self, outputs: Sequence[np.ndarray], given: InputRows, signature: Signature
    ) -> Answer:
        """The one row's answer."""
        (row,) = answer_rows(np.stack(outputs), signature)
        return row

    def told(self, answer: Mapping[str, Any]) -> Told:
        """The class and its probability; or the value, of several the first.

        Of several labels it is all that were answered, and the most probable of all there are.
        """
        found = answer['predicted']
        if 'probabilities' not in answer:
            value = found[0] if isinstance(found, list) else found
            return Told(f'{value:.6g}', value)
        if not isinstance(found, list):  # a threshold may answer what is not the most probable
            return Told(found, answer['probability'], (found,), found, probable=True)
        probabilities = answer['probabilities']
        best = max(probabilities, key=probabilities.__getitem__)
        return Told('|'.join(found), probabilities[best], tuple(found), best, probable=True)


def told_outputs(outputs: np.ndarray, signature: Signature) -> list[Told]:
    """Answers in short to outputs (n, outputs)."""
    form = ClassAnswers()
    return [form.told(row) for row in answer_rows(outputs, signature)]
