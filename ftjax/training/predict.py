"""Outputs of a network on a whole split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from ftjax.data.device import prepare
from ftjax.models.stages import Network
from ftjax.training.programs import program, replicated, sharded


def predict(
    network: Network,
    variables: Any,
    batches: Iterable[dict],
    preprocessing: Any = None,
    start: str | None = None,
) -> Iterator[tuple[np.ndarray, dict]]:
    """(outputs, batch) of every batch, in evaluation mode; padded rows are included.

    Args:
      batches: as `eval_batches` gives them; 'mask' is 0 for padding.
      preprocessing: normalises images; None for inputs that are ready.
      start: the stage that takes the inputs; None for the first, which takes raw ones.
    """

    def run(variables, inputs):
        if start is None and preprocessing is not None:
            inputs = prepare(inputs, preprocessing)
        return network.apply(variables, inputs, start=start)

    variables = replicated(variables)
    for batch in batches:
        inputs = sharded(batch['inputs']) if jax.device_count() > 1 else batch['inputs']
        inputs = jax.device_put(inputs)
        compiled = program(('predict', network, preprocessing, start), run, variables, inputs)
        yield np.asarray(compiled.call(variables, inputs)), batch
