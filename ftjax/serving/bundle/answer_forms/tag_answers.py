"""A tag for each word of a text, and the spans that tags say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.text.word_windows import NOWHERE, words_of
from ftjax.evaluation.predictions import softmax
from ftjax.evaluation.spans import scheme_of
from ftjax.serving.bundle.answer_forms.answer_form import (
    Answer,
    AnswerForm,
    Told,
    check_outputs_finite,
)
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.signature import Signature


@dataclasses.dataclass(frozen=True)
class TextOfWords:
    """What the answer has to know of a text."""

    text: str
    """Its words, as `joined_words` gives them."""
    places: tuple[np.ndarray, ...]
    """Of each row, int32: the word that each token stands for, NOWHERE for none."""


def of_words(outputs: Sequence[np.ndarray], places: Sequence[np.ndarray]) -> np.ndarray:
    """(words, tags): of rows of (tokens, tags) the outputs of tokens that stand for words."""
    count = 1 + max(int(row.max(initial=NOWHERE)) for row in places)
    found = np.zeros((count, outputs[0].shape[-1]), outputs[0].dtype)
    for row, at in zip(outputs, places, strict=True):
        there = np.flatnonzero(at != NOWHERE)
        found[at[there]] = row[there]
    return found


class TagAnswers(AnswerForm):
    """Outputs are logits of tags, (tokens, tags) a row; several rows are windows of a text."""

    named = True
    example = "'words of a text'"
    gives = 'a tag for each word, and the spans that tags say'
    asks = 'each input a text, whose words are parted by spaces, or a list of words'

    def of_example(self, example: Any) -> Any:
        """Its words: a space within one is no end of it."""
        return words_of(example)

    def answer(
        self, outputs: Sequence[np.ndarray], given: InputRows, signature: Signature
    ) -> Answer:
        """`words`, `predicted` (a tag each), `probability` (of each of these tags) and `spans`.

        A span has `type`, `first` and `last` word (from 0, `last` is the one after it), its `text`
        and as `probability` the lowest of its words'.
        """
        about: TextOfWords = given.about
        logits, words = of_words(outputs, about.places), words_of(about.text)
        check_outputs_finite(logits)
        best = logits.argmax(axis=-1)
        sure = softmax(logits.astype(np.float64))[np.arange(len(best)), best]
        return {
            'words': words,
            'predicted': [signature.class_names[tag] for tag in best],
            'probability': sure.tolist(),
            'spans': [
                {
                    'type': kind,
                    'first': first,
                    'last': last,
                    'text': ' '.join(words[first:last]),
                    'probability': float(sure[first:last].min()),
                }
                for kind, first, last in scheme_of(signature.class_names).named(best)
            ],
        }

    def told(self, answer: Mapping[str, Any]) -> Told:
        """The tags, and the mean of their probabilities."""
        tags = tuple(answer['predicted'])
        return Told(' '.join(tags), float(np.mean(answer['probability'])), tags, probable=True)
