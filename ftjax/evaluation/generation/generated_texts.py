"""Texts that begin as prompts do and go on as a network writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ftjax.data.text.tokenize import begun, check_known, encoded
from ftjax.distributed.sharding import Sharding
from ftjax.errors import UserError
from ftjax.evaluation.generation.decoding import Decoding
from ftjax.evaluation.generation.sampling import GREEDY, Sampling
from ftjax.evaluation.generation.text_ends import BROKEN, upto_end
from ftjax.evaluation.predictions import refuse_non_finite
from ftjax.models.stages import Network
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Variables
from ftjax.xla.program_cache import program


def generated(
    network: Network,
    variables: Variables,
    prompts: Sequence[str],
    preprocessing: TextPreprocessing,
    *,
    new_tokens: int = 64,
    sampling: Sampling = GREEDY,
    batch_size: int = 32,
    seed: int = 0,
    written: bool = False,
    report: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """What the network writes after each prompt, up to the token that ends a text.

    What is drawn follows from the seed and the number of the prompt, not from its batch.

    Args:
      network, variables: a decoder; adapters that can be merged make it slower, not different.
      prompts: texts.
      preprocessing: the network's.
      new_tokens: at most, of each text.
      sampling: how tokens are chosen.
      batch_size: texts at once.
      seed: of what is drawn.
      written: whether a chat template has written the prompts, special tokens included.
      report: is told how many prompts are done.

    Raises:
      UserError: no decoder, a prompt without a token, or one that leaves no room; a token that the
        network has no row for.
      NonFinitePredictions: the network's numbers are not finite.
    """
    ids = prompt_ids(network, prompts, preprocessing, new_tokens, written)
    for number, each in enumerate(ids, start=1):
        reason = no_room(network, each, new_tokens)
        if reason:
            raise UserError(f'prompt {number} {reason}')
    return continued(
        *(network, variables, ids, keys_of(seed, len(ids)), preprocessing),
        new_tokens=new_tokens,
        sampling=sampling,
        batch_size=batch_size,
        report=report,
    )


def keys_of(seed: int, count: int) -> jax.Array:
    """What decides the draws of each of so many prompts, (count,) keys."""
    return jax.random.split(jax.random.key(seed), max(1, count))


def continued(
    network: Network,
    variables: Variables,
    ids: Sequence[Sequence[int]],
    keys: jax.Array,
    preprocessing: TextPreprocessing,
    *,
    new_tokens: int,
    sampling: Sampling,
    batch_size: int,
    report: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """As `generated`, of tokens that have room, with the keys (n,) of their draws."""
    ends = end_tokens(network, preprocessing)
    run = Decoding(network, new_tokens, sampling, ends, preprocessing.pad_id)
    where, tokenizer = Sharding(), preprocessing.open()
    variables = where.copied(variables)
    lengths = np.array([bucket(len(each), preprocessing.buckets) for each in ids], int)
    if network.longest_text is not None:  # a bucket may leave less room than its texts do
        lengths = np.minimum(lengths, network.longest_text - new_tokens)
    found, done = [''] * len(ids), 0
    order = np.argsort(lengths, kind='stable')
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        full = np.concatenate([rows, np.repeat(rows[:1], batch_size - len(rows))])
        given = padded_left([ids[row] for row in full], lengths[rows].max(), preprocessing.pad_id)
        batch: Any = where.batch(
            where.padded((*given, np.asarray(jax.random.key_data(keys))[full]))
        )
        arguments: Any = (variables, *batch[:2], jax.random.wrap_key_data(batch[2]))
        tokens = np.asarray(program(run, *arguments).call(*arguments))
        refuse_non_finite((tokens[: len(rows)] != BROKEN).all(axis=1))
        for row, new in zip(rows, tokens, strict=False):
            found[row] = tokenizer.decode(upto_end(new, ends).tolist(), skip_special_tokens=True)
        done += len(rows)
        report(done)
    return found


def end_tokens(network: Network, preprocessing: TextPreprocessing) -> tuple[int, ...]:
    """Tokens that end a text, by the network and by its tokenizer."""
    own = preprocessing.end_id
    more = () if own is None or own in network.end_ids else (own,)
    return (*network.end_ids, *more)


def prompt_ids(
    network: Network,
    prompts: Sequence[str],
    preprocessing: TextPreprocessing,
    new_tokens: int,
    written: bool,
) -> list[list[int]]:
    """The tokens of prompts, as training gives them; see `generated` for arguments and errors."""
    if not network.is_decoder:
        raise UserError(
            f'{type(network).__name__} writes no texts: it has no head that guesses the next token '
            'from those before it'
        )
    if new_tokens < 1:
        raise UserError(f'new_tokens is {new_tokens}; expected at least 1')
    tokenizer = preprocessing.open()
    tokenizer.no_truncation()
    codes = encoded(tokenizer, prompts, 'prompts', special=not written)
    ids = [begun(code) for code in codes]
    check_known([token for each in ids for token in each], preprocessing)
    return ids


def no_room(network: Network, ids: Sequence[int], new_tokens: int) -> str:
    """Why nothing can be written after the tokens of a prompt; '' if it can.

    A prompt is never cut: what is asked for may stand at either of its ends.
    """
    longest = network.longest_text
    if not ids:
        return 'has no token: there is nothing to go on from'
    if longest is not None and len(ids) + new_tokens > longest:
        return (
            f'has {len(ids)} tokens, and the network takes texts of {longest}: no room for '
            f'{new_tokens} new ones; shorten it, or ask for fewer'
        )
    return ''


def bucket(length: int, buckets: Sequence[int]) -> int:
    """The smallest bucket that holds so many tokens; beyond the last a multiple of it.

    >>> bucket(5, (16, 32)), bucket(33, (16, 32))
    (16, 64)
    """
    last = buckets[-1]
    return next((each for each in buckets if each >= length), -(-length // last) * last)


def padded_left(
    rows: Sequence[Sequence[int]], length: int, pad_id: int
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens int32 (rows, length) that end at the last place, and where they are no padding."""
    ids = np.full((len(rows), length), pad_id, np.int32)
    mask = np.zeros(ids.shape, bool)
    for number, row in enumerate(rows):
        ids[number, length - len(row) :] = row
        mask[number, length - len(row) :] = True
    return ids, mask
