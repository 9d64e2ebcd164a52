"""Texts of words as tokens: which token stands for which word, and windows over long texts.

A text of words is its words parted by one space, 'EU rejects German call'; a space within a word
is written U+00A0. The words are tokenised one by one, as transformers does with
`is_split_into_words`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftjax.data.text.tokenize import Tokens, check_known
from ftjax.errors import UserError, at_row
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.preprocessing.tokenizer import special_id
from ftjax.preprocessing.tokenizer_trial import in_one_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OVERLAP = 0.25
"""Of a window, that the next one repeats: words at an edge are scored where they have context."""
NOWHERE = -1
"""At a token that stands for no word."""
INNER_SPACE = '\u00a0'


def joined_words(words: Sequence[str]) -> str:
    r"""The text of some words; `words_of` is the inverse but for spaces within words.

    >>> words_of(joined_words(['New York', 'is', '']))
    ['New\xa0York', 'is', '']
    """
    return ' '.join(word.replace(' ', INNER_SPACE) for word in words)


def words_of(text: str) -> list[str]:
    """The words of a text."""
    return text.split(' ')


class WordWindows:
    """Tokens of N texts of words: a row of tokens each, or several that overlap.

    `buckets` (N,) is the padded length of a text that is one row, and of another the number of
    its windows times the longest length: texts of as many windows share batches.
    """

    def __init__(
        self,
        texts: Sequence[str],
        preprocessing: TextPreprocessing,
        name: str,
        tokenizer: Tokenizer | None = None,
    ):
        """Tokenises; `tokenizer` is that of `word_tokenizer`, where it is open already."""
        self._pad, self.longest = preprocessing.pad_id, preprocessing.max_length
        tokenizer = word_tokenizer(preprocessing) if tokenizer is None else tokenizer
        before, after = _around(tokenizer)
        room = self.longest - len(before) - len(after)
        if room < 1:
            raise UserError(f'data.max_length {self.longest} has no room for a word')
        unknown = special_id(tokenizer, 'unk', {})
        nothing = preprocessing.pad_id if unknown is None else unknown
        ids, special, places, lengths, windows = [], [], [], [], []
        for number, text in enumerate(texts):
            words = _tokenised(tokenizer, words_of(text), nothing, f'{name}: {at_row(number)}')
            found = list(_windows([len(word) for word in words], room))
            windows.append(len(found))
            for first, last, scored in found:
                inner = [i for word in words[first:last] for i in word][:room]
                at = [NOWHERE] * len(inner)
                place = 0
                for word in range(first, last):
                    if scored[0] <= word < scored[1]:
                        at[place] = word
                    place += len(words[word])
                ids.append([*before, *inner, *after])
                special.append([1] * len(before) + [0] * len(inner) + [1] * len(after))
                places.append([NOWHERE] * len(before) + at + [NOWHERE] * len(after))
                lengths.append(len(ids[-1]))
        flat = {
            'ids': (ids, np.int32),
            'special': (special, np.uint8),
            'places': (places, np.int32),
        }
        arrays = {
            key: np.array([value for row in rows for value in row], dtype)
            for key, (rows, dtype) in flat.items()
        }
        starts = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))])
        check_known(arrays['ids'], preprocessing)
        types = np.zeros_like(arrays['special'])
        none = np.zeros(len(lengths), np.uint8)
        self.tokens = Tokens(arrays['ids'], types, arrays['special'], starts, none)
        self.cut = np.zeros(len(windows), bool)  # a long text is more windows
        self._places = arrays['places']
        self.windows = np.array(windows, np.int64)
        self._first = np.concatenate([[0], np.cumsum(self.windows)])[:-1]
        bounds = np.array(preprocessing.buckets)
        alone = bounds[np.searchsorted(bounds, self.tokens.lengths[self._first])]
        self.buckets = np.where(self.windows == 1, alone, self.windows * self.longest)

    def padded(self, indices: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """As of `Tokens`, and `places`: the word that each token stands for, or NOWHERE.

        Arrays are (len(indices), length); where length is a multiple of the longest, windows
        (len(indices), windows, longest).
        """
        count = max(1, length // self.longest)
        size = length // count
        number = np.arange(count)
        there = number < self.windows[indices][:, None]
        rows = np.where(there, self._first[indices][:, None] + number, 0).reshape(-1)
        found = self.tokens.padded(rows, size, self._pad)
        at = np.minimum(self.tokens.starts[:-1][rows][:, None] + np.arange(size), self._last)
        found['places'] = np.where(found['real'] > 0, self._places[at], NOWHERE)
        missing = ~there.reshape(-1)
        # A window that a text has not: one token, so that attention has something to look at.
        fill = {'ids': self._pad, 'types': 0, 'special': 1, 'real': 0, 'places': NOWHERE}
        for key, value in fill.items():
            found[key][missing] = value
        found['real'][missing, 0] = 1
        if count == 1:
            return found
        return {key: x.reshape(len(indices), count, size) for key, x in found.items()}

    @property
    def _last(self) -> int:
        return max(len(self._places) - 1, 0)


def word_tokenizer(preprocessing: TextPreprocessing) -> Tokenizer:
    """The tokenizer of a network, set to take words one by one and to cut nothing."""
    tokenizer = preprocessing.open()
    tokenizer.no_truncation()
    if type(tokenizer.pre_tokenizer).__name__ == 'ByteLevel':
        tokenizer.pre_tokenizer.add_prefix_space = True  # a word is one within a text
    return tokenizer


def _around(tokenizer) -> tuple[list[int], list[int]]:
    """What the tokenizer adds before and after a text."""
    whole = tokenizer.encode(['a'], is_pretokenized=True)
    inner = [place for place, added in enumerate(whole.special_tokens_mask) if not added]
    if not inner:
        return whole.ids, []
    return whole.ids[: inner[0]], whole.ids[inner[-1] + 1 :]


def _tokenised(tokenizer, words: list[str], nothing: int, where: str) -> list[list[int]]:
    """The tokens of each word; one of which the tokenizer leaves nothing is the unknown token."""
    try:
        code = tokenizer.encode(words, is_pretokenized=True, add_special_tokens=False)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library's panics are no Exceptions
        raise UserError(f'{where}: the tokenizer failed: {in_one_line(error)}') from error
    found: list[list[int]] = [[] for _ in words]
    for token, word in zip(code.ids, code.word_ids, strict=True):
        if word is not None:
            found[word].append(token)
    return [tokens or [nothing] for tokens in found]


def _windows(sizes: Sequence[int], room: int) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """(first word, word after the last, (first, after the last) that are scored) of each window.

    Each word is scored once: of those that two windows share the first half in the first one.

    >>> list(_windows([1] * 10, 6))
    [(0, 6, (0, 5)), (4, 10, (5, 10))]
    """
    starts = np.concatenate([[0], np.cumsum(sizes)])
    bounds, first = [], 0
    while True:
        last = int(np.searchsorted(starts, starts[first] + room, side='right')) - 1
        last = max(last, first + 1)  # a word longer than a window is cut
        bounds.append((first, last))
        if last >= len(sizes):
            break
        back = starts[last] - OVERLAP * room
        first = max(first + 1, int(np.searchsorted(starts, back, side='right')) - 1)
        first = min(first, last)
    begin = 0
    for number, (first, last) in enumerate(bounds):
        end = last
        if number + 1 < len(bounds):
            other = bounds[number + 1][0]
            end = other + (last - other) // 2 if last > other else last
            end = max(end, begin)
        yield first, last, (begin, end)
        begin = end
