"""Texts to rows of token ids: one row, one a choice, or windows over the words of a long text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ftjax.data.labels.tags import Tags
from ftjax.data.text.tokenize import tokenize
from ftjax.data.text.word_windows import WordWindows, word_tokenizer
from ftjax.errors import UserError, shown
from ftjax.preprocessing.texts import FORMS, TextPreprocessing
from ftjax.serving.bundle.answer_forms.answer_form import AnswerForm
from ftjax.serving.bundle.answer_forms.tag_answers import TextOfWords
from ftjax.serving.bundle.input_rows import Example, InputRows

_INPUT = 'the input'  # for messages


class TokenReader:
    """What readers of texts share: a tokenizer, and rows as a batch."""

    def __init__(self, preprocessing: TextPreprocessing):
        self.preprocessing = preprocessing
        self.tokenizer = preprocessing.open()

    def rows(self, raw: Any) -> InputRows:
        """One input; UserError for what cannot be read."""
        raise NotImplementedError

    def tokenised(self, texts: Sequence[str | Sequence[str]]) -> tuple[Example, ...]:
        """A row for each text, or pair; UserError for one of blanks, as where data are read."""
        for each in texts:
            for text in [each] if isinstance(each, str) else each:
                check_not_blank(text)
        tokens = tokenize(texts, self.preprocessing, _INPUT, self.tokenizer)
        parts = zip(tokens.starts[:-1], tokens.starts[1:], strict=True)
        return tuple(self.example(tokens.ids[a:b], tokens.types[a:b]) for a, b in parts)

    def example(self, ids: np.ndarray, types: np.ndarray) -> Example:
        """The tokens of one row."""
        made = {'input_ids': ids, 'attention_mask': np.ones(len(ids), np.int32)}
        if self.preprocessing.token_types:
            made['token_type_ids'] = types.astype(np.int32)
        return made

    def stacked(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """Rows as a batch, padded to the longest."""
        longest = max(len(each['input_ids']) for each in examples)
        pads = {'input_ids': self.preprocessing.pad_id}
        return {
            name: np.stack(
                [
                    np.pad(
                        each[name],
                        (0, longest - len(each[name])),
                        constant_values=pads.get(name, 0),
                    )
                    for each in examples
                ]
            )
            for name in examples[0]
        }


class TextReader(TokenReader):
    """Texts, or pairs of texts."""

    def __init__(self, preprocessing: TextPreprocessing, pairs: bool | None = None):
        """`pairs` is whether the network knows pairs, or texts alone; None takes both."""
        super().__init__(preprocessing)
        self.pairs = pairs

    def rows(self, raw: Any) -> InputRows:
        """One row."""
        return InputRows((self.read(raw),))

    def read(self, raw: Any) -> Example:
        """The tokens of a text, or of a pair; UserError for what is none."""
        pair = isinstance(raw, (list, tuple)) and len(raw) == 2
        good = isinstance(raw, str) or (pair and all(isinstance(t, str) for t in raw))
        if not good or self.pairs not in (None, pair):
            expected = {None: 'a text, or a pair of texts', True: 'a pair of texts: a list of two'}
            raise UserError(
                f'the input is {shown(raw)}; expected {expected.get(self.pairs, "a text")}'
            )
        (made,) = self.tokenised([raw if isinstance(raw, str) else tuple(raw)])
        return made


class WordsReader(TokenReader):
    """Texts of words: a list, or one string that is cut into `units`."""

    def __init__(self, preprocessing: TextPreprocessing, units: str):
        super().__init__(preprocessing)
        self.tokenizer, self.units = word_tokenizer(preprocessing), units

    def rows(self, raw: Any) -> InputRows:
        """A row a window; `about` is a `TextOfWords`."""
        text = Tags().as_text(raw, _INPUT, self.units)
        if not isinstance(text, str):
            raise UserError(f'the input is {shown(raw)}; expected a text, or a list of words')
        check_not_blank(text)
        found = WordWindows([text], self.preprocessing, _INPUT, self.tokenizer)
        padded = found.padded(np.zeros(1, int), int(found.buckets[0]))
        flat = {name: array.reshape(-1, array.shape[-1]) for name, array in padded.items()}
        sizes = flat['real'].sum(axis=1)
        cut = {
            name: [row[:size] for row, size in zip(flat[name], sizes, strict=True)]
            for name in ('ids', 'types', 'places')
        }
        made = zip(cut['ids'], cut['types'], strict=True)
        return InputRows(
            tuple(self.example(*row) for row in made), TextOfWords(text, tuple(cut['places']))
        )


class SeveralTextsReader(TokenReader):
    """Texts that each go through the network alone, or each with the first: a row each."""

    def __init__(self, preprocessing: TextPreprocessing, form: AnswerForm):
        super().__init__(preprocessing)
        self.form = form

    def rows(self, raw: Any) -> InputRows:
        """A row for each text; or for each after the first, together with it."""
        if self.preprocessing.form == 'choices':
            first, *others = self.form.texts_of(raw)
            return InputRows(self.tokenised([(first, other) for other in others]))
        texts = [raw] if isinstance(raw, str) else raw
        good = isinstance(texts, (list, tuple)) and all(isinstance(each, str) for each in texts)
        if not good or len(texts) != self.form.texts:
            wanted = 'a text' if self.form.texts == 1 else f'a list of {self.form.texts} texts'
            raise UserError(f'the input is {shown(raw)}; expected {wanted}')
        return InputRows(self.tokenised(list(texts)))


def check_not_blank(text: str) -> None:
    """UserError for a text without a sign: no network was trained on one."""
    if not text.strip():
        raise UserError(f'a text is {shown(text)}; expected one that is not empty')


def text_reader(
    preprocessing: TextPreprocessing, units: str, form: AnswerForm, pairs: bool | None = None
) -> TokenReader:
    """The reader of what becomes of texts; `units` as of data.units, `pairs` of `TextReader`."""
    if preprocessing.form == 'words':
        return WordsReader(preprocessing, units)
    if preprocessing.form != FORMS[0]:
        return SeveralTextsReader(preprocessing, form)
    return TextReader(preprocessing, pairs)
