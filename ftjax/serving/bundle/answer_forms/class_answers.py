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
        sure = max(answer['probabilities'].values())
        return Told('|'.join(classes), sure, classes, probable=True)
