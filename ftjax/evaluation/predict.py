"""Outputs of a network on a whole split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from ftjax.data.images.on_device import prepare
from ftjax.distributed.sharding import Sharding
from ftjax.models.stages import Network
from ftjax.xla.program_cache import program


def predict(
    network: Network,
    variables: Any,
    batches: Iterable[dict],
    preprocessing: Any = None,
    start: str | None = None,
    sharding: Sharding | None = None,
) -> Iterator[tuple[np.ndarray, dict]]:
    """(outputs, batch) of every batch, in evaluation mode; padded rows are included.

    Args:
      batches: as `eval_batches` gives them; 'mask' is 0 for padding.
      preprocessing: normalises images; None for inputs that are ready.
      start: the stage that takes the inputs; None for the first, which takes raw ones.
      sharding: the devices, and where the variables lie if they lie there already; by default all
        devices hold them.
    """

    def run(variables, inputs):
        if start is None and preprocessing is not None:
            inputs = prepare(inputs, preprocessing)
        return network.apply(where.gathered(variables), inputs, start=start)

    where = sharding or Sharding()
    one = where.devices == 1
    variables = variables if placed(variables, where) else where.copied(variables)
    key, places = ('predict', network, preprocessing, start, where), None if one else where.whole
    for batch in batches:
        inputs = where.batch(batch['inputs'] if one else where.padded(batch['inputs']))
        compiled = program(key, run, variables, inputs, places=places)
        yield np.asarray(compiled.call(variables, inputs))[: len(batch['mask'])], batch


def placed(variables: Any, sharding: Sharding) -> bool:
    """Whether variables lie on the mesh of a layout already, each in its place there."""
    return sharding.fsdp > 1 and all(
        isinstance(leaf, jax.Array)
        and isinstance(leaf.sharding, jax.sharding.NamedSharding)
        and leaf.sharding.mesh == sharding.mesh
        for leaf in jax.tree.leaves(variables)
    )
