"""Outputs of a network on a whole split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from ftjax.data.device import prepare
from ftjax.models.stages import Network
from ftjax.training.layout import Layout
from ftjax.training.programs import program


def predict(
    network: Network,
    variables: Any,
    batches: Iterable[dict],
    preprocessing: Any = None,
    start: str | None = None,
    layout: Layout | None = None,
) -> Iterator[tuple[np.ndarray, dict]]:
    """(outputs, batch) of every batch, in evaluation mode; padded rows are included.

    Args:
      batches: as `eval_batches` gives them; 'mask' is 0 for padding.
      preprocessing: normalises images; None for inputs that are ready.
      start: the stage that takes the inputs; None for the first, which takes raw ones.
      layout: the devices, and where the variables lie if they lie there already; by default all
        devices hold them.
    """

    def run(variables, inputs):
        if start is None and preprocessing is not None:
            inputs = prepare(inputs, preprocessing)
        return network.apply(where.gathered(variables), inputs, start=start)

    where = layout or Layout()
    one = where.devices == 1
    variables = variables if placed(variables, where) else where.copied(variables)
    key, places = ('predict', network, preprocessing, start, where), None if one else where.whole
    for batch in batches:
        inputs = where.batch(batch['inputs'] if one else where.padded(batch['inputs']))
        compiled = program(key, run, variables, inputs, places=places)
        yield np.asarray(compiled.call(variables, inputs))[: len(batch['mask'])], batch


def placed(variables: Any, layout: Layout) -> bool:
    """Whether variables lie on the mesh of a layout already, each in its place there."""
    return layout.fsdp > 1 and all(
        isinstance(leaf, jax.Array)
        and isinstance(leaf.sharding, jax.sharding.NamedSharding)
        and leaf.sharding.mesh == layout.mesh
        for leaf in jax.tree.leaves(variables)
    )
