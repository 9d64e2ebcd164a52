"""Texts that a language model writes after a beginning."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.errors import UserError
from ftjax.evaluation.generation.text_ends import BROKEN, upto_end
from ftjax.io.json.json_values import Integer, ListOf, check
from ftjax.serving.bundle.answer_forms.answer_form import Answer, AnswerForm, Told
from ftjax.serving.bundle.input_rows import InputRows
from ftjax.serving.bundle.signature import FILE, Signature

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NEW_TOKENS, ENDS = 'new_tokens', 'ends'
"""In the signature's details: tokens that are written at most, and those that end a text."""


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What the answer has to know of a beginning."""

    tokenizer: Tokenizer
    limit: int
    """Tokens that are written at most."""


class WrittenAnswers(AnswerForm):
    """Of each row the new tokens, int32 (new,)."""

    writes = True
    example = "{'prompt': 'a beginning', 'max_tokens': 20, 'temperature': 0.8, 'seed': 1}"
    gives = 'the text that goes on after a beginning'
    asks = (
        'each input a text, or {"prompt": a text, "max_tokens", "temperature" (0 for greedy), '
        '"top_k", "top_p", "seed"}; or "messages" in place of "prompt", where the network has a '
        'chat template'
    )

    def check(self, signature: Signature) -> None:
        """How many tokens, and which end a text."""
        details = signature.details
        check(details.get(NEW_TOKENS), f'{FILE}: {NEW_TOKENS}', Integer(1, 2**20))
        check(details.get(ENDS), f'{FILE}: {ENDS}', ListOf(Integer(0, 2**31 - 1), 0, 1000))

    def of_example(self, example: Any) -> Any:
        """The prompt of a pair; of a text the first half of its words."""
        if not isinstance(example, str):
            return example[0]
        words = example.split(' ')
        return ' '.join(words[: max(1, len(words) // 2)])

    def answer(
        self, outputs: Sequence[np.ndarray], given: InputRows, signature: Signature
    ) -> Answer:
        """`text`, how many `tokens` it has, and whether it `ended` before the limit."""
        about: Prompt = given.about
        written = outputs[0][: about.limit]
        if (written == BROKEN).any():
            raise UserError('the network gave an output that is no finite number')
        kept = upto_end(written, signature.details[ENDS])
        try:
            text = about.tokenizer.decode(kept.tolist(), skip_special_tokens=True)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the library's panics are no Exceptions
            raise UserError('the tokenizer failed on what was written') from error
        return {'text': text, 'tokens': len(kept), 'ended': len(kept) < len(written)}

    def told(self, answer: Mapping[str, Any]) -> Told:
        """The text's beginning, and how many tokens it has."""
        return Told(answer['text'][:200], float(answer['tokens']))
