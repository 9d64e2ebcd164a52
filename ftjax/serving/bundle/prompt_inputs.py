"""Beginnings of texts, with how they are to go on, as rows of a program that writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.data.text.tokenize import begun, encoded
from ftjax.errors import UserError, check_name, shown
from ftjax.io.json.json_values import Integer, Kind, Number, Text, check
from ftjax.preprocessing.conversation import check_messages
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.serving.bundle.answer_forms.written_answers import Prompt
from ftjax.serving.bundle.input_rows import Example, InputRows
from ftjax.serving.bundle.text_inputs import TokenReader

_INPUT = 'the input'  # for messages
_TOKENS = ('input_ids', 'attention_mask')
_FIELDS = ('prompt', 'messages', 'max_tokens', 'temperature', 'top_k', 'top_p', 'seed')


class PromptReader(TokenReader):
    """A text, or an object with a prompt, or with messages, and how it goes on."""

    def __init__(self, preprocessing: TextPreprocessing, new_tokens: int):
        super().__init__(preprocessing)
        self.tokenizer.no_truncation()
        self.new_tokens = new_tokens

    def rows(self, raw: Any) -> InputRows:
        """One row; `about` is a `Prompt`."""
        asked = {'prompt': raw} if isinstance(raw, str) else raw
        if not isinstance(asked, Mapping) or ('prompt' in asked) == ('messages' in asked):
            raise UserError(
                f'the input is {shown(raw)}; expected a text, or an object with either prompt or '
                'messages'
            )
        for name in asked:
            check_name(name, _FIELDS, f'{_INPUT}: field')
        kinds: dict[str, tuple[Kind, Any]] = {
            'max_tokens': (Integer(1, self.new_tokens), self.new_tokens),
            'temperature': (Number(0, 100), 0.0),
            'top_k': (Integer(0, 2**31 - 1), 0),
            'top_p': (Number(0, 1, low_belongs=False), 1.0),
            'seed': (Integer(0, 2**31 - 1), 0),
        }
        how: dict[str, Any] = {
            name: check(asked.get(name, default), f'{_INPUT}: {name}', kind)
            for name, (kind, default) in kinds.items()
        }
        ids = self.beginning(asked)
        if not ids:
            raise UserError('the prompt has no token: there is nothing to go on from')
        tokens = self.example(np.array(ids, np.int32), np.zeros(len(ids), np.int32))
        whole = {name: np.asarray(how[name], np.int32) for name in ('seed', 'top_k')}
        real = {name: np.asarray(how[name], np.float32) for name in ('temperature', 'top_p')}
        row = {
            **{name: tokens[name] for name in _TOKENS},
            **whole,
            **real,
            'new_tokens': np.asarray(how['max_tokens'], np.int32),
        }
        return InputRows((row,), Prompt(self.tokenizer, how['max_tokens']))

    def beginning(self, asked: Mapping[str, Any]) -> list[int]:
        """The tokens of a prompt, or of messages as the chat template writes them."""
        if 'prompt' in asked:
            text = check(asked['prompt'], f'{_INPUT}: prompt', Text(longest=2**26))
            (code,) = encoded(self.tokenizer, [text], _INPUT)
            return begun(code)
        template = self.preprocessing.chat
        if template is None:
            raise UserError('the network has no chat template: give a prompt, not messages')
        messages = asked['messages']
        if not isinstance(messages, list):
            raise UserError(f'{_INPUT}: messages is {shown(messages)}; expected a list')
        check_messages(messages, _INPUT)
        text = template.rendered(messages, _INPUT, answer=True)
        (code,) = encoded(self.tokenizer, [text], _INPUT, special=False)
        return begun(code)

    def stacked(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """Rows as a batch, tokens padded to the longest."""
        tokens = super().stacked([{name: each[name] for name in _TOKENS} for each in examples])
        others = [name for name in examples[0] if name not in _TOKENS]
        return {**tokens, **{n: np.stack([each[n] for each in examples]) for n in others}}
