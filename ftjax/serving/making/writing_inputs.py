"""What the program of a bundle that writes texts takes, and how long its texts may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError
from ftjax.evaluation.generation.generated_texts import end_tokens
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.runs.prediction.trained import Trained
from ftjax.serving.bundle.answer_forms import written_answers
from ftjax.serving.bundle.signature import LENGTH, InputArray
from ftjax.serving.making.served_writing import ServedWriting

NEW_TOKENS = 64
"""Tokens that are written at most, where nothing else is asked for."""


def writing_inputs(
    trained: Trained, new_tokens: int
) -> tuple[dict[str, InputArray], tuple[int, ...], dict[str, Any]]:
    """(arrays, lengths of beginnings, details of the signature).

    Raises:
      UserError: no tokenizer, or no room for so many tokens after the shortest beginnings.
    """
    found, longest = trained.preprocessing, trained.network.longest_text
    if not isinstance(found, TextPreprocessing):
        raise UserError(f'{trained.init} came without a tokenizer: it writes no texts')
    if new_tokens < 1:
        raise UserError(f'new_tokens is {new_tokens}; expected at least 1')
    buckets = found.with_length(trained.settings.max_length).buckets
    lengths = tuple(b for b in buckets if longest is None or b + new_tokens <= longest)
    if not lengths:
        raise UserError(
            f'the network takes texts of {longest} tokens: no room for {new_tokens} new ones after '
            f'beginnings of {buckets[0]}; ask for fewer (--new_tokens)'
        )
    text, one = (LENGTH,), ()
    token, whole, real = found.vocab_size - 1, 2**31 - 1, 'float32'
    arrays = {
        'input_ids': _array('int32', text, token, 'token', pad=found.pad_id),
        'attention_mask': _array('int32', text, 1, '1 for a token, 0 for padding'),
        'seed': _array('int32', one, whole, 'of what is drawn'),
        'temperature': _array(real, one, 100, 'logits are divided by it; 0 for greedy'),
        'top_k': _array('int32', one, whole, 'tokens to draw from; 0 for all'),
        'top_p': _array(real, one, 1, 'probability of the tokens to draw from'),
        'new_tokens': _array('int32', one, new_tokens, 'tokens that are written at most', low=1),
    }
    details = {
        written_answers.NEW_TOKENS: new_tokens,
        written_answers.ENDS: list(end_tokens(trained.network, found)),
        'pad_id': found.pad_id,
    }
    return arrays, lengths, details


def _array(
    dtype: str, shape: tuple[str, ...], high: float, unit: str, *, low: float = 0, pad: int = 0
) -> InputArray:
    return InputArray(dtype=dtype, shape=shape, low=low, high=high, unit=unit, pad=pad)


def writing(trained: Trained, details: Mapping[str, Any]) -> ServedWriting:
    """The program, as the details of a signature say."""
    return ServedWriting(
        trained.network,
        details[written_answers.NEW_TOKENS],
        tuple(details[written_answers.ENDS]),
        details['pad_id'],
    )
