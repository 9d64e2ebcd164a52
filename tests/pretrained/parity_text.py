"""What the cases of text models share: token inputs with padding, labels, how to call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from parity_engine import IGNORED
from parity_torch import Case

LABELS = 3
# Lengths of the sentences in a batch: the first fills it, the others are padded.
LENGTHS = (9, 6, 2)


def tokens(
    vocab_size: int,
    *,
    lengths: tuple[int, ...] = LENGTHS,
    pad_id: int = 0,
    token_types: int = 0,
    mask: bool = True,
) -> Callable[[np.random.Generator], dict[str, np.ndarray]]:
    """Random sentences, padded on the right: input_ids, attention_mask, token_type_ids (int32).

    `token_types` is the number of types to draw from, 0 to leave them out; without `mask`
    every sentence has the full length and no mask is given.
    """

    def draw(rng):
        shape = (len(lengths), max(lengths))
        real = np.arange(shape[1]) < np.asarray(lengths)[:, None]
        # Real tokens are above any padding or special token.
        ids = rng.integers(4, vocab_size, shape)
        inputs = {'input_ids': np.where(real, ids, pad_id) if mask else ids}
        if mask:
            inputs['attention_mask'] = real
        if token_types:
            inputs['token_type_ids'] = rng.integers(0, token_types, shape) * real
        return {name: array.astype(np.int32) for name, array in inputs.items()}

    return draw


def labels(count: int, batch: int = len(LENGTHS)) -> Callable[[np.random.Generator], np.ndarray]:
    """One label an example in [0, count)."""
    return lambda rng: rng.integers(0, count, batch)


def token_labels(
    count: int, lengths: tuple[int, ...] = LENGTHS
) -> Callable[[np.random.Generator], np.ndarray]:
    """One label a token in [0, count), IGNORED where there is padding."""

    def draw(rng):
        shape = (len(lengths), max(lengths))
        real = np.arange(shape[1]) < np.asarray(lengths)[:, None]
        return np.where(real, rng.integers(0, count, shape), IGNORED)

    return draw


def forward(model, inputs: Mapping[str, torch.Tensor]):
    """Calls a model of transformers."""
    return model(**{name: tensor.long() for name, tensor in inputs.items()})


def whole(output):
    """The hidden states of a module that may return them in a tuple."""
    return output[0] if isinstance(output, tuple) else output


def first_token(output):
    return whole(output)[:, 0]


def logits(output):
    return output.logits


def blocks(path: str, count: int) -> dict[str, Any]:
    return {f'block_{index:02d}': (f'{path}.{index}', whole) for index in range(count)}


def case(family: str, build, config, taps, **more) -> Case:
    """A case of transformers; a sequence classifier if nothing else is said."""
    last = {'head': ('', logits)} if 'logits' not in more else {}
    defaults = {
        'inputs': tokens(config.vocab_size),
        'labels': labels(config.num_labels),
        'logits': logits,
        'forward': forward,
    }
    return Case(
        family=family,
        source='transformers',
        build=lambda: build(config),
        taps={**taps, **last},
        **{**defaults, **more},
    )
