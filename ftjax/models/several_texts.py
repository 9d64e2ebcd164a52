"""Examples of several texts: each text goes through a stage by itself, as a row of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

TEXTS = 'texts'
"""What flows beside the hidden states of such examples: bool (batch, texts)."""


def texts_of(state: object) -> tuple[int, ...] | None:
    """(examples, texts of each) of what a stage takes; None where an example is one text.

    >>> texts_of({'input_ids': jnp.zeros((2, 3, 8), int)}), texts_of({'hidden': jnp.zeros((2, 8))})
    ((2, 3), None)
    """
    if not isinstance(state, Mapping):
        return None
    if TEXTS in state:
        return state[TEXTS].shape
    ids = state.get('input_ids')
    return None if ids is None or jnp.ndim(ids) != 3 else jnp.shape(ids)[:2]


def run_stage(stage: Callable[..., object], state: Any, mode: object) -> Any:
    """`stage(state, mode)`, with (batch, texts, ..) as (batch x texts, ..) inside.

    Outside every leaf has a row an example, so that features of examples can be stored, and
    batches be parted, whatever an example is.
    """
    shape = texts_of(state)
    if shape is None:
        return stage(state, mode)
    rows = {
        name: jnp.reshape(leaf, (-1, *jnp.shape(leaf)[2:]))
        for name, leaf in state.items()
        if name != TEXTS
    }
    found = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), stage(rows, mode))
    return {**found, TEXTS: jnp.ones(shape, bool)} if isinstance(found, Mapping) else found
