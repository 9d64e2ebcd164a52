"""Outputs on a split where several processes share it: each reads and answers its own rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from ftjax.data.streams.evaluation_batches import EvalBatches
from ftjax.distributed.process_group import several
from ftjax.distributed.sharding import Sharding
from ftjax.evaluation.own_pairs import OwnPairs, Pairs
from ftjax.evaluation.predict import Forward, placed, predict
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Variables
from ftjax.xla.program_cache import program


def answers(
    network: Network,
    variables: Variables,
    batches: Any,
    preprocessing: Preprocessing | TextPreprocessing | None = None,
    start: str | None = None,
    sharding: Sharding | None = None,
    tta: str = 'none',
    watched: Callable[[Iterable], Iterator] = iter,
    shared: bool = True,
) -> Pairs:
    """As `predict`; of several processes, the rows of this one, as `OwnPairs`.

    All processes have to call it and to use it up. Batches of stored features are not shared: each
    process has all of them.

    Args:
      shared: False where a loss compares the examples of a batch: each process has all of them.
      watched: what batches pass through on their way, to be stopped between them say.
    """
    where = sharding or Sharding()
    if not (shared and several() and isinstance(batches, EvalBatches)):
        return predict(network, variables, watched(batches), preprocessing, start, where, tta=tta)
    run = Forward(network, preprocessing, start, where, tta=tta)
    size = batches.batch_size + -batches.batch_size % where.devices
    parts = watched(batches.of_rows(where.rows(size)))
    return OwnPairs(_answered(run, variables, parts, size))


def _answered(
    run: Forward, variables: Variables, parts: Iterable[tuple[dict, int]], size: int
) -> Iterator[tuple[np.ndarray, dict]]:
    where = run.sharding
    variables = variables if placed(variables, where) else where.copied(variables)
    for batch, count in parts:
        inputs = where.batch(batch.pop('inputs'), size=size)
        compiled = program(run, variables, inputs, places=where.examples())
        outputs = rows_here(compiled.call(variables, inputs))
        if count:  # padding comes last: what is left are this process's examples
            yield outputs[:count], {name: values[:count] for name, values in batch.items()}


def rows_here(array: jax.Array) -> np.ndarray:
    """Of an array whose rows are shared out over all devices, those that this process holds."""
    parts = sorted(array.addressable_shards, key=lambda part: part.index[0].start or 0)
    return np.concatenate([np.asarray(part.data) for part in parts])
