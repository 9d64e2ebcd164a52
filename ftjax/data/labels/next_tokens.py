"""Labels that are the texts themselves: of each token the one that follows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ftjax.data.labels.label_kind import LabelKind, Where
from ftjax.errors import UserError

NOT_ASKED = -1
"""What stands for the token that follows where none is to be guessed."""
CONVERSATION = 1
"""The label, in a data set, of an input that is the JSON of a conversation's messages."""
_CONVERSATION = re.compile(r'\s*\[\s*\{\s*[\'"](role|content)[\'"]\s*:')
_MESSAGES, _PAIR = 'messages', ('prompt', 'completion')


class NextTokens(LabelKind):
    """In a data set int32 (N,): CONVERSATION, or 0 for a text or a prompt and its completion.

    In a batch int32 (B, time, 2): the id of the token that follows, NOT_ASKED for none, and the
    bytes of the text that it stands for.
    """

    dtype = np.int32
    from_inputs = True
    head = 'lm'
    causal = True
    reader = 'ftjax.data.text.sequences:SequenceReader'
    packs = True
    second_text = _PAIR[1]
    usual_columns = 'messages, or prompt and completion, or text'

    def columns_of(
        self, columns: Sequence[str], settings: Mapping[str, str], asked: bool = False
    ) -> dict[str, Any]:
        """The usual columns of conversations, or of prompts and completions.

        A prompt alone is something to answer, and nothing to learn from.
        """
        if settings['text_column']:
            return {}
        if _MESSAGES in columns:
            return {'text_column': _MESSAGES}
        if set(_PAIR) <= set(columns):
            return dict(zip(('text_column', 'text_pair_column'), _PAIR, strict=True))
        return {'text_column': _PAIR[0]} if asked and _PAIR[0] in columns else {}

    def as_text(self, value: Any, where: str, units: str) -> Any:
        """A conversation as JSON; a text as it is."""
        del units
        from ftjax.preprocessing.conversation import written

        if isinstance(value, str) and _CONVERSATION.match(value):
            raise UserError(
                f'{where}: the text is a conversation in JSON; expected a list of messages in a '
                'JSONL file'
            )
        return written(value, where) if isinstance(value, list) else value

    def read(
        self, raw: Sequence[Any], where: Where, class_names: Sequence[str] = (), separator='|'
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Which of the inputs are conversations."""
        return np.array([self.label_of(value) for value in raw], np.int32), ()

    def label_of(self, value: object) -> int:
        """Whether an input is a conversation."""
        return CONVERSATION if isinstance(value, list) else 0

    def of_inputs(self, inputs: Any, labels: np.ndarray, where: Where) -> np.ndarray:
        """As they are, if there is something to learn in each conversation."""
        from ftjax.preprocessing.conversation import check_answered, read_messages

        for row in np.flatnonzero(labels == CONVERSATION).tolist():
            check_answered(read_messages(inputs[row], where(row)), where(row))
        return labels

    def read_arrays(
        self,
        raw: Mapping[str, np.ndarray],
        where: Callable[[str], str],
        names: tuple[str, ...],
        ignored: int | None = None,
    ) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
        """Arrays hold texts alone."""
        return (), {part: np.zeros(len(values), np.int32) for part, values in raw.items()}

    def outputs(self, class_names: Sequence[str]) -> int:
        """0: their number is the vocabulary's, and a language model's own affair."""
        return 0

    def shapes(self, examples: int, outputs: int, inputs: Any) -> tuple[Any, Any]:
        """Of each token the one that follows, and its bytes."""
        each = inputs['input_ids'].shape
        labels = jax.ShapeDtypeStruct((*each, 2), np.int32)
        return labels, jax.ShapeDtypeStruct(each, np.float32)

    def hidden(self, texts: Any, indices: np.ndarray, length: int, draw: Any) -> Any:
        """The texts, and of each of their tokens the one that follows; nothing is drawn."""
        del draw
        return texts.examples(indices, length)

    def asked(self, labels: np.ndarray) -> np.ndarray:
        """Where a token follows that is to be guessed."""
        return labels[..., 0] != NOT_ASKED
