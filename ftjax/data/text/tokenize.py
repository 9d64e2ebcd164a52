"""Texts to token ids by the checkpoint's own tokenizer, all of a split in flat arrays."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftjax.errors import UserError, at_row
from ftjax.preprocessing.tokenizer_trial import in_one_line

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

    from ftjax.preprocessing.texts import TextPreprocessing

_PART = 10_000  # texts encoded at once: what the library returns is far larger than the ids


@dataclasses.dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of N texts, or pairs, end to end: those of text i from starts[i] on."""

    ids: np.ndarray
    """int32 (all tokens,)."""
    types: np.ndarray
    """uint8, 1 for the second text of a pair."""
    special: np.ndarray
    """uint8, 1 for what the tokenizer added."""
    starts: np.ndarray
    """int64 (N + 1,)."""
    cut: np.ndarray
    """uint8 (N,), 1 for a text that was longer and lost tokens."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, int64 (N,)."""
        return np.diff(self.starts)

    def padded(self, indices: np.ndarray, length: int, pad_id: int) -> dict[str, np.ndarray]:
        """Texts as rows, padded on the right: `ids`, `types`, `special` and `real`, int32.

        Each is (len(indices), length); `real` is 1 for a token. No text may be longer.
        """
        lengths = self.lengths[indices]
        place = np.arange(length)
        real = place < lengths[:, None]
        # Where there is padding, any token of the array will do: it is replaced below.
        at = np.where(real, self.starts[:-1][indices][:, None] + place, 0)
        return {
            'ids': np.where(real, self.ids[at], pad_id).astype(np.int32),
            'types': np.where(real, self.types[at], 0).astype(np.int32),
            'special': np.where(real, self.special[at], 1).astype(np.int32),
            'real': real.astype(np.int32),
        }


def tokenize(
    texts: Sequence[str | Sequence[str]] | np.ndarray,
    preprocessing: TextPreprocessing,
    name: str = 'texts',
    tokenizer: Tokenizer | None = None,
) -> Tokens:
    """Tokenises texts, or pairs of texts, each cut to the preprocessing's max_length.

    A pair that is too long loses tokens of its longer text first. What the tokenizer adds
    (`[CLS]`, `[SEP]`, ..) is never cut off.

    Args:
      texts: N str, or N pairs of str.
      preprocessing: the network's.
      name: of the data, for messages.
      tokenizer: as `preprocessing.open()` gives it, cutting where the caller set it to.

    Raises:
      UserError: a text that is no valid Unicode, or a token that the network has no row for.
    """
    tokenizer = tokenizer if tokenizer is not None else preprocessing.open()
    given = [_given(text, preprocessing.separator) for text in texts]
    parts = [_flat([], [])]  # so that there is something to join for no text at all
    for first in range(0, len(given), _PART):
        codes = encoded(tokenizer, given[first : first + _PART], name, first)
        parts.append(_flat(codes, [preprocessing.pad_id]))
    arrays = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    ids, types, special, lengths, cut = arrays
    check_known(ids, preprocessing)
    return Tokens(ids, types, special, np.concatenate([[0], np.cumsum(lengths)]), cut)


def _given(text: str | Sequence[str], separator: str | None) -> str | tuple[str, str]:
    if isinstance(text, str):
        return text
    first, second = text
    return (first, second) if separator is None else f'{first}{separator}{second}'


def encoded(
    tokenizer: Tokenizer,
    texts: Sequence[str | tuple[str, str]],
    name: str,
    first: int = 0,
    *,
    offsets: bool = False,
    special: bool = True,
) -> list[Encoding]:
    """What the library makes of some texts.

    Args:
      tokenizer: as it is set to cut.
      texts: or pairs.
      name: of the data, for messages.
      first: number of the first text, for messages.
      offsets: whether each token's place in the text is wanted, which takes longer.
      special: whether special tokens are added.

    Raises:
      UserError: a text that is no valid Unicode, or that the tokenizer fails on.
    """
    try:
        encode = tokenizer.encode_batch if offsets else tokenizer.encode_batch_fast
        return encode(list(texts), add_special_tokens=special)
    except TypeError:
        for number, text in enumerate(texts, first):
            try:
                ''.join(text).encode()
            except UnicodeEncodeError as error:
                raise UserError(
                    f'{name}: {at_row(number)} is no valid Unicode ({error.reason}): {text!r}'
                ) from error
        raise
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library's panics are no Exceptions
        raise UserError(
            f'{name}: the tokenizer failed on one of rows {first + 1} to {first + len(texts)} '
            '(counted from 1): '
            f'{in_one_line(error)}'
        ) from error


def check_known(ids: Sequence[int] | np.ndarray, preprocessing: TextPreprocessing) -> None:
    """UserError for a token that the network has no row for."""
    highest = int(np.max(ids, initial=0))
    if highest >= preprocessing.vocab_size:
        raise UserError(
            f'{preprocessing.tokenizer} gives token {highest}, and the network knows '
            f'{preprocessing.vocab_size} (from 0): it is the tokenizer of another network'
        )


def begun(code: Encoding) -> list[int]:
    """The ids without what the tokenizer added at the end: there the text goes on."""
    ids, added = code.ids, code.special_tokens_mask
    count = len(ids)
    while count and added[count - 1]:
        count -= 1
    return ids[:count]


def _flat(codes: list[Encoding], pad: list[int]) -> tuple[np.ndarray, ...]:
    """ids, types and special tokens of encodings in flat arrays, their lengths, which were cut.

    No network can run on nothing: an empty text is one token of padding.
    """
    lists = (
        (np.int32, [code.ids or pad for code in codes]),
        (np.uint8, [code.type_ids or [0] for code in codes]),
        (np.uint8, [code.special_tokens_mask or [1] for code in codes]),
    )
    flat = [np.fromiter(itertools.chain.from_iterable(rows), dtype) for dtype, rows in lists]
    cut = np.array([bool(code.overflowing) for code in codes], np.uint8)
    return (*flat, np.array([len(row) for row in lists[0][1]], np.int64), cut)
