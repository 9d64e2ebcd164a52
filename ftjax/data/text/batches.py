"""Texts as batches of token ids, padded to one of a few lengths."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.data.augmentation import Parsed, of_kind
from ftjax.data.dataset import Dataset
from ftjax.data.text.augmentation import augment_text, check_text_augmentation
from ftjax.data.text.text_rows import TextRows, arranged
from ftjax.data.text.token_cache import cached_tokens
from ftjax.data.text.token_masking import hide_tokens
from ftjax.data.text.tokenize import tokenize
from ftjax.data.text.word_windows import WordWindows
from ftjax.errors import UserError
from ftjax.preprocessing.texts import TextPreprocessing

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TextReader:
    """The texts of a split as inputs of a network.

    Tokens are made once, or read from the cache. `buckets` (N,) int64 is the padded length
    that each example needs, `cut` bool (N,) whether it lost tokens. Where an example is several
    texts, or windows of a long one, arrays of its batches have one more axis before that of the
    tokens.
    """

    def __init__(self, dataset: Dataset, preprocessing: TextPreprocessing, keep: bool = True):
        """Tokenises; `keep` says whether the tokens are kept on disk for the next time."""
        self.dataset = dataset
        self.preprocessing = preprocessing.with_length(dataset.max_length)
        self.rows: TextRows | WordWindows
        if self.preprocessing.form == 'words':
            self.rows = WordWindows(dataset.inputs, self.preprocessing, dataset.name)
        else:
            texts, each = arranged(dataset.inputs, self.preprocessing.form)
            made = cached_tokens if keep else tokenize
            tokens = made(texts, self.preprocessing, dataset.name)
            self.rows = TextRows(tokens, each, self.preprocessing)
        self.buckets, self.cut = self.rows.buckets, self.rows.cut
        self._tokenizer: Tokenizer | None = None

    @staticmethod
    def seen(dataset: Dataset, preprocessing: TextPreprocessing) -> str:
        """What the first screen says of how much of a text the network sees."""
        longest = preprocessing.with_length(dataset.max_length).max_length
        if preprocessing.form == 'words':
            return f'the network sees texts in windows of up to {longest} tokens'
        return f'the network sees up to {longest} tokens of a text'

    def length(self, indices: np.ndarray) -> int:
        """The smallest bucket that holds these texts, in tokens."""
        return int(self.buckets[indices].max())

    def inputs(self, indices: np.ndarray, length: int | None = None) -> dict[str, np.ndarray]:
        """`input_ids`, `attention_mask` and, if the network has them, `token_type_ids`.

        Each is int32 (B, length); None stands for the smallest bucket that holds these texts.
        """
        return self._inputs(self.rows.padded(indices, length or self.length(indices)))

    def places(self, indices: np.ndarray, length: int) -> np.ndarray | None:
        """The word that each token of `inputs` stands for, NOWHERE at others; None of no words."""
        if not isinstance(self.rows, WordWindows):
            return None
        return self.rows.padded(indices, length)['places']

    def augmented(
        self, indices: np.ndarray, length: int, seed: int, step: int, todo: Parsed
    ) -> dict[str, np.ndarray]:
        """As `inputs`, after random changes that are drawn from (seed, step, example).

        A text that noise makes longer than `length` is cut.
        """
        self.check_augmentation(todo)
        rngs = [np.random.default_rng((seed, step, int(index))) for index in indices]
        rows, at = self.rows, indices
        if of_kind(todo, 'words'):
            rows, at = self._changed(indices, rngs, todo, length), np.arange(len(indices))
        padded = rows.padded(at, length)
        for term in of_kind(todo, 'tokens'):
            shape, mask_id = padded['ids'].shape, self.preprocessing.mask_id or 0
            flat = (padded[name].reshape(-1, shape[-1]) for name in ('ids', 'special'))
            draws = [rng for rng in rngs for _ in range(math.prod(shape[1:-1]))]
            changed = [term(*row, mask_id=mask_id) for row in zip(*flat, draws, strict=True)]
            padded['ids'] = np.stack(changed).reshape(shape)
        return self._inputs(padded)

    def check_augmentation(self, todo: Parsed) -> None:
        """UserError for an augmentation that is none of such texts."""
        check_text_augmentation(todo, self.preprocessing.mask_id)
        for term in of_kind(todo, 'words') if isinstance(self.rows, WordWindows) else ():
            raise UserError(
                f'data.augment {term.name!r} changes the words of a text, and data.task '
                f'{self.dataset.task} has a label for each; expected one of tokens (token_mask)'
            )

    def masked(
        self, indices: np.ndarray, length: int, draw: tuple[int, int] | None = None
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """As `inputs`, with tokens hidden, and the labels int32 (B, length) of `hide_tokens`.

        Args:
          indices, length: as of `inputs`.
          draw: (seed, step); None for the same tokens whenever a text is read, for evaluation.

        Raises:
          UserError: the tokenizer has no mask token.
        """
        mask_id = self.preprocessing.mask_id
        if mask_id is None:
            raise UserError(
                f'{self.dataset.name}: {self.preprocessing.tokenizer} has no mask token, which '
                f'data.task {self.dataset.task} needs'
            )
        padded = self.rows.padded(indices, length)
        found = [
            hide_tokens(
                ids,
                special,
                np.random.default_rng((*(draw or ()), int(index))),
                mask_id,
                self._ordinary,
            )
            for ids, special, index in zip(padded['ids'], padded['special'], indices, strict=True)
        ]
        padded['ids'], labels = (np.stack(rows) for rows in zip(*found, strict=True))
        return self._inputs(padded), labels

    @functools.cached_property
    def _ordinary(self) -> np.ndarray:
        """Ids of the tokens that are no special ones, ascending."""
        tokenizer = self.preprocessing.open()
        special = [i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special]
        return np.setdiff1d([*tokenizer.get_vocab().values()], special)

    def _changed(
        self, indices: np.ndarray, rngs: Sequence[Any], todo: Parsed, length: int
    ) -> TextRows:
        if self._tokenizer is None:
            self._tokenizer = self.preprocessing.open()
        # The tokenizer cuts, not we: it keeps what it adds at the end.
        self._tokenizer.enable_truncation(length)
        given = self.dataset.inputs[indices]
        changed = given.copy()
        for number, rng in enumerate(rngs):
            for place in np.ndindex(given.shape[1:]):
                changed[(number, *place)] = augment_text(given[(number, *place)], rng, todo)
        texts, each = arranged(changed, self.preprocessing.form)
        tokens = tokenize(texts, self.preprocessing, self.dataset.name, self._tokenizer)
        return TextRows(tokens, each, self.preprocessing)

    def _inputs(self, padded: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        inputs = {'input_ids': padded['ids'], 'attention_mask': padded['real']}
        if self.preprocessing.token_types:
            inputs['token_type_ids'] = padded['types']
        return inputs
