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
        """The classes and the largest probability; or the value, of several the first."""
        found = answer['predicted']
        if 'probabilities' not in answer:
            value = found[0] if isinstance(found, list) else found
            return Told(f'{value:.6g}', value)
        classes = tuple(found) if isinstance(found, list) else (found,)
        probabilities = answer['probabilities']
        best = max(probabilities, key=probabilities.__getitem__)
        return Told('|'.join(classes), probabilities[best], classes, best, probable=True)


def told_outputs(outputs: np.ndarray, signature: Signature) -> list[Told]:
    """Answers in short to outputs (n, outputs)."""
    form = ClassAnswers()
    return [form.told(row) for row in answer_rows(outputs, signature)]
