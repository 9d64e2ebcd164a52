"""Outputs on a split where several processes share it: each reads and answers its own rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import jax
import numpy as np

from ftjax.distributed import process_group
from ftjax.distributed.sharding import Sharding
from ftjax.evaluation.own_pairs import OwnPairs, Pairs
from ftjax.evaluation.predict import Forward, placed, predict
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Variables
from ftjax.xla.program_cache import program

if TYPE_CHECKING:
    from ftjax.data.streams.loader import Batch, Loader

    class Batches(Protocol):
        """Of a split: an `EvalBatches`, or one of stored features."""

        loader: Loader
        batch_size: int

        def __iter__(self) -> Iterator[Batch]:
            """All batches."""

        def of_rows(self, rows: np.ndarray) -> Iterator[tuple[Batch, int]]:
            """Of each batch some rows, and how many of these are no padding."""

        def without_inputs(self) -> Iterator[Batch]:
            """All batches, but for the inputs."""


def answers(
    network: Network,
    variables: Variables,
    batches: Batches,
    preprocessing: Preprocessing | TextPreprocessing | None = None,
    start: str | None = None,
    sharding: Sharding | None = None,
    tta: str = 'none',
    watched: Callable[[Iterable], Iterator] = iter,
    compares: bool = False,
) -> Pairs:
    """As `predict`; of several processes, the rows of this one, as `OwnPairs`.

    All processes have to call it and to use it up.

    Args:
      compares: whether a loss compares the examples of a batch. Then each process reads its rows,
        and gets the outputs of all: whole batches without their inputs. Where labels are of the
        tokens of texts it reads all.
      watched: what batches pass through on their way, to be stopped between them say.
    """
    where = sharding or Sharding()
    if not process_group.several() or (compares and batches.loader.labels_need_texts):
        return predict(network, variables, watched(batches), preprocessing, start, where, tta=tta)
    run = Forward(network, preprocessing, start, where, tta=tta)
    size = batches.batch_size + -batches.batch_size % where.devices
    parts = watched(batches.of_rows(where.rows(size)))
    if compares:
        return _of_whole_batches(run, variables, parts, batches, size)
    return OwnPairs(own_outputs(run, variables, parts, size))


def own_outputs(
    run: Forward, variables: Variables, parts: Iterable[tuple[dict, int]], size: int
) -> Iterator[tuple[np.ndarray, dict]]:
    """(outputs, batch) of this process's rows of batches of `size`, padding left out.

    Args:
      run: the forward pass.
      variables: of the network.
      parts: this process's rows of each batch, and how many of them, the first ones, are no
        padding. All processes must have equally many.
      size: rows of a whole batch, a multiple of the devices.
    """
    where, variables = run.sharding, _placed(run, variables)
    for batch, count in parts:
        inputs = where.batch(batch.pop('inputs'), size=size)
        compiled = program(run, variables, inputs, places=where.examples())
        outputs = rows_here(compiled.call(variables, inputs))
        if count:  # padding comes last: what is left are this process's examples
            yield outputs[:count], {name: values[:count] for name, values in batch.items()}


def _of_whole_batches(
    run: Forward,
    variables: Variables,
    parts: Iterable[tuple[dict, int]],
    batches: Batches,
    size: int,
) -> Iterator[tuple[np.ndarray, dict]]:
    where, variables = run.sharding, _placed(run, variables)
    for (part, _), batch in zip(parts, batches.without_inputs(), strict=True):
        inputs = where.batch(part['inputs'], size=size)
        compiled = program(run, variables, inputs, places=where.whole)
        yield np.asarray(compiled.call(variables, inputs))[: len(batch['mask'])], batch


def _placed(run: Forward, variables: Variables) -> Variables:
    return variables if placed(variables, run.sharding) else run.sharding.copied(variables)


def rows_here(array: jax.Array) -> np.ndarray:
    """Of an array whose rows are shared out over all devices, those that this process holds."""
    parts = sorted(array.addressable_shards, key=lambda part: part.index[0].start or 0)
    return np.concatenate([np.asarray(part.data) for part in parts])
