"""Texts, completions and conversations as sequences of tokens, each token to be guessed or not."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.labels.next_tokens import CONVERSATION, NOT_ASKED
from ftjax.data.text.packing import first_fit
from ftjax.data.text.tokenize import begun, check_known, encoded
from ftjax.errors import UserError
from ftjax.preprocessing.conversation import read_messages

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

    from ftjax.preprocessing.texts import TextPreprocessing

_MADE: weakref.WeakKeyDictionary[Dataset, dict[Any, Sequences]] = weakref.WeakKeyDictionary()


@dataclasses.dataclass(frozen=True, eq=False)
class Sequences:
    """The tokens of N examples end to end: those of example i from starts[i] on."""

    ids: np.ndarray
    """int32 (all tokens,)."""
    counted: np.ndarray
    """bool, whether a token is to be guessed: never the first of an example."""
    bytes: np.ndarray
    """int32, how many bytes of the text (UTF-8) a token stands for; 0 for special tokens."""
    starts: np.ndarray
    """int64 (N + 1,)."""
    lost: np.ndarray
    """int64 (N,), tokens that each example lost at its end."""

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, int64 (N,)."""
        return np.diff(self.starts)


class SequenceReader:
    """The texts of a split as inputs of a decoder, with the tokens that follow as labels.

    As `TextReader`. Of a text each token but the first is to be guessed; of a prompt and its
    completion those of the completion; of a conversation those of the assistant; and in each case
    the token that ends it. What is longer than `max_length` loses its end.
    """

    def __init__(self, dataset: Dataset, preprocessing: TextPreprocessing, keep: bool = True):
        """Tokenises; `keep` is of no use here: what is made is kept as long as the split."""
        del keep
        self.dataset = dataset
        self.preprocessing = preprocessing.with_length(dataset.max_length)
        self.sequences = sequences_of(dataset, self.preprocessing)
        bounds = np.array(self.preprocessing.buckets)
        self.buckets = bounds[np.searchsorted(bounds, self.sequences.lengths)]
        self.cut = self.sequences.lost > 0

    @staticmethod
    def seen(dataset: Dataset, preprocessing: TextPreprocessing) -> str:
        """What the first screen says: the longest text, what is cut off and what is learned.

        Raises:
          UserError: nothing is learned of any example.
        """
        made = sequences_of(dataset, preprocessing.with_length(dataset.max_length))
        longest = preprocessing.with_length(dataset.max_length).max_length
        limit = 'data.max_length'
        if longest != dataset.max_length:
            limit = f'{longest} came with the weights; data.max_length can be up to what they take'
        if len(dataset) and not made.counted.any():
            raise UserError(
                f'{dataset.name}: nothing can be learned: no token of an answer is among the first '
                f'{longest} of its example ({limit})'
            )
        lines = [
            f'the network sees up to {longest} tokens of an example and learns '
            f'{made.counted.sum():,} of {len(made.ids):,} training tokens'
        ]
        cut = made.lost > 0
        if cut.any():
            lines.append(
                f'truncation: {cut.sum():,} of {len(cut):,} training examples are longer and lose '
                f'their end, {made.lost.sum():,} tokens together ({limit})'
            )
        firsts = made.starts[:-1]
        empty = int((np.add.reduceat(made.counted.astype(int), firsts) == 0).sum())
        if empty:
            lines.append(
                f'note: of {empty:,} training examples nothing is learned: no token of the answer '
                f'is among the first {longest}'
            )
        if preprocessing.end_id is None:
            lines.append('note: the tokenizer has no token that ends a text; none is learned')
        return '\n'.join(lines)

    def check_augmentation(self, todo: object) -> None:
        """None is allowed: the settings refuse all where labels are made from inputs."""
        del todo

    def length(self, indices: np.ndarray) -> int:
        """The smallest bucket that holds these examples, in tokens."""
        return int(self.buckets[indices].max())

    def examples(
        self, indices: np.ndarray, length: int
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Inputs int32 (B, length), padded on the right, and labels as of `NextTokens`."""
        rows = [[int(index)] for index in indices]
        inputs, labels = self._rows(rows, length)
        del inputs['segments']
        return inputs, labels

    def packed(
        self, indices: np.ndarray, count: int
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """The same examples in `count` rows of max_length tokens, and the first of each row.

        Inputs have `segments` as well, which number the examples of a row from 1. Rows that are
        left over are padding.
        """
        length = self.preprocessing.max_length
        fitted = first_fit(self.sequences.lengths[indices], length)
        rows = [[int(indices[place]) for place in row] for row in fitted]
        rows += [[] for _ in range(count - len(rows))]
        inputs, labels = self._rows(rows, length)
        first = np.array([(row or rows[0])[0] for row in rows], np.int32)
        return inputs, labels, first

    def _rows(self, rows: list[list[int]], length: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        made = self.sequences
        shape = len(rows), length
        ids = np.full(shape, self.preprocessing.pad_id, np.int32)
        segments, labels = np.zeros(shape, np.int32), np.zeros((*shape, 2), np.int32)
        labels[..., 0] = NOT_ASKED
        for number, row in enumerate(rows):
            place = 0
            for segment, index in enumerate(row, start=1):
                own = slice(made.starts[index], made.starts[index + 1])
                end = place + made.starts[index + 1] - made.starts[index]
                ids[number, place:end] = made.ids[own]
                segments[number, place:end] = segment
                # The one place where labels are shifted: a token is the label of the one before.
                counted = made.counted[own][1:]
                labels[number, place : end - 1, 0] = np.where(counted, made.ids[own][1:], NOT_ASKED)
                labels[number, place : end - 1, 1] = np.where(counted, made.bytes[own][1:], 0)
                place = end
        inputs = {
            'input_ids': ids,
            'attention_mask': (segments > 0).astype(np.int32),
            'targets': labels[..., 0],
            'segments': segments,
        }
        return inputs, labels


def sequences_of(dataset: Dataset, preprocessing: TextPreprocessing) -> Sequences:
    """The sequences of a split, made once.

    Raises:
      UserError: a conversation for a network without a chat template, a text that is no valid
        Unicode, a token that the network has no row for.
    """
    known = _MADE.setdefault(dataset, {})
    if preprocessing not in known:
        known[preprocessing] = _made(dataset, preprocessing)
    return known[preprocessing]


def _made(dataset: Dataset, preprocessing: TextPreprocessing) -> Sequences:
    tokenizer = preprocessing.open()
    tokenizer.no_truncation()
    special = np.array(
        [i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special], np.int64
    )
    longest = preprocessing.max_length
    parts, lost = [], []
    for ids, counted, sizes in _examples(dataset, preprocessing, tokenizer):
        if not len(ids):  # no network runs on nothing: one token of padding, as of `tokenize`
            ids, counted, sizes = np.array([preprocessing.pad_id]), np.zeros(1, bool), np.zeros(1)
        sizes[np.isin(ids, special)] = 0
        counted[:1] = False
        parts.append((ids[:longest], counted[:longest], sizes[:longest]))
        lost.append(max(0, len(ids) - longest))
    columns = list(zip(*parts, strict=True)) or [(), (), ()]
    kinds = np.int32, bool, np.int32
    ids, counted, sizes = (
        np.concatenate([np.zeros(0, kind), *column]).astype(kind)
        for kind, column in zip(kinds, columns, strict=True)
    )
    check_known(ids, preprocessing)
    lengths = [len(part) for part, _, _ in parts]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(ids, counted, sizes, starts, np.array(lost, np.int64))


def _examples(
    dataset: Dataset, preprocessing: TextPreprocessing, tokenizer: Tokenizer
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(ids, whether each counts, its bytes) of each example, uncut."""
    name, texts = dataset.name, dataset.inputs
    end = [] if preprocessing.end_id is None else [preprocessing.end_id]
    if texts.ndim == 2:
        prompts = encoded(tokenizer, list(texts[:, 0]), name, offsets=True)
        answers = encoded(tokenizer, list(texts[:, 1]), name, offsets=True, special=False)
        for prompt, answer, (_, text) in zip(prompts, answers, texts, strict=True):
            begin = begun(prompt)
            ids = np.array([*begin, *answer.ids, *end], np.int64)
            counted = np.arange(len(ids)) >= len(begin)
            sizes = [np.zeros(len(begin)), _sizes(answer, text), np.zeros(len(end))]
            yield ids, counted, np.concatenate(sizes).astype(np.int32)
        return
    spoken = dataset.labels == CONVERSATION
    plain = iter(encoded(tokenizer, list(texts[~spoken]), name, offsets=True))
    for index, text in enumerate(texts):
        if spoken[index]:
            yield _conversation(text, f'{name} {dataset.ids[index]}', preprocessing, tokenizer)
            continue
        code = next(plain)
        begin = begun(code)
        ids = np.array([*begin, *end], np.int64)
        sizes = np.concatenate([_sizes(code, text)[: len(begin)], np.zeros(len(end))])
        yield ids, np.ones(len(ids), bool), sizes.astype(np.int32)


def _conversation(
    text: str, where: str, preprocessing: TextPreprocessing, tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    template = preprocessing.chat
    if template is None:
        raise UserError(
            f'{where} is a conversation, and the checkpoint has no chat template; put its '
            'chat_template.jinja beside the weights, or give prompts and completions'
        )
    written, spans = template.spans(read_messages(text, where), where)
    # The template has written what the tokenizer would add.
    (code,) = encoded(tokenizer, [written], where, offsets=True, special=False)
    first, last = np.array(code.offsets, np.int64).reshape(-1, 2).T
    counted = np.zeros(len(code.ids), bool)
    for begin, end in spans:
        counted |= (first >= begin) & (last <= end) & (last > begin)
    return np.array(code.ids, np.int64), counted, _sizes(code, written)


def _sizes(code: Encoding, text: str) -> np.ndarray:
    """Bytes of the text up to the end of each token that no token before it reaches, int32."""
    ends = np.array(code.offsets, np.int64).reshape(-1, 2)[:, 1]
    reached = np.maximum.accumulate(np.concatenate([[0], ends]))
    if not text.isascii():
        upto = np.cumsum([0, *(len(character.encode()) for character in text)])
        reached = upto[reached]
    return np.diff(reached).astype(np.int32)
