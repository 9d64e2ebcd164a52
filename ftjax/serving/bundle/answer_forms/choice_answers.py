"""A text with each of several others: which one is right, or in which order they answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ftjax.data.labels.choices import Choices, Relevance
from ftjax.errors import UserError, shown
from ftjax.evaluation.predictions import softmax
from ftjax.serving.bundle.answer_forms.answer_form import (
    Answer,
    AnswerForm,
    Told,
    check_outputs_finite,
)
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.signature import Signature


class _OfSeveral(AnswerForm):
    """Outputs are a score a row: of the text with one of the others."""

    names: ClassVar[tuple[str, str]]
    """What the text and the others are called first."""
    least: ClassVar[int]
    """Of the others."""
    columns: ClassVar[tuple[tuple[str, ...], ...]]
    """Other names, as of the columns of a table."""

    def of_example(self, example: Any) -> Any:
        """Without the empty texts that fill up."""
        return [example[0], *(text for text in example[1:] if text)]

    def texts_of(self, raw: Any) -> list[str]:
        """The text and the others, from a list of all or an object; UserError for what is none."""
        text, others = self.names
        if isinstance(raw, Mapping):
            names = next((n for n in self.columns if set(n) == set(raw) and len(n) == 2), None)
            raw = None if names is None else [raw[names[0]], raw[names[1]]]
            raw = [raw[0], *raw[1]] if raw and isinstance(raw[1], list) else None
        whole = isinstance(raw, (list, tuple)) and all(isinstance(each, str) for each in raw)
        if not whole or len(raw) < 1 + self.least or not all(raw[1:]):
            raise UserError(
                f'the input is {shown(raw)}; expected {{"{text}": a text, "{others}": '
                f'[{self.least} or more texts]}}, or a list of all of them'
            )
        return list(raw)

    def scores(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (others,)."""
        found = np.concatenate(outputs)
        check_outputs_finite(found)
        return found


class ChoiceAnswers(_OfSeveral):
    """The right one."""

    names, least, columns = ('prompt', 'choices'), 2, Choices.column_sets
    example = "{'prompt': 'a text', 'choices': ['one', 'another']}"
    gives = 'which choice is right, and how probable each is'
    asks = 'each input {"prompt": a text, "choices": [texts]}, or a list of all of them'
    lines = 'A text and its choices, a line each'

    def answer(
        self, outputs: Sequence[np.ndarray], given: InputRows, signature: Signature
    ) -> Answer:
        """`predicted`, the number of the choice from 0, its `probability`, and those of all."""
        probabilities = softmax(self.scores(outputs)[None])[0]
        best = int(probabilities.argmax())
        return {
            'predicted': best,
            'probability': float(probabilities[best]),
            'choices': probabilities.tolist(),
        }

    def told(self, answer: Mapping[str, Any]) -> Told:
        """The number and its probability."""
        return Told(str(answer['predicted']), answer['probability'], probable=True)


class OrderAnswers(_OfSeveral):
    """The order, best first."""

    names, least, columns = ('query', 'candidates'), 1, Relevance.column_sets
    example = "{'query': 'a text', 'candidates': ['one', 'another']}"
    gives = 'the candidates, best first, and their scores'
    asks = 'each input {"query": a text, "candidates": [texts]}, or a list of all of them'
    lines = 'A query and its candidates, a line each'

    def answer(
        self, outputs: Sequence[np.ndarray], given: InputRows, signature: Signature
    ) -> Answer:
        """`predicted`: the numbers of the candidates from 0, best first; `scores` of each."""
        scores = self.scores(outputs)
        return {
            'predicted': np.argsort(-scores, kind='stable').tolist(),
            'scores': scores.tolist(),
        }

    def told(self, answer: Mapping[str, Any]) -> Told:
        """The order and the best score."""
        said = ' '.join(map(str, answer['predicted'][:20]))
        return Told(said, max(answer['scores']))
