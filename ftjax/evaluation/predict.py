"""Outputs of a network on a whole split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.images.on_device import prepare
from ftjax.data.images.test_time import averaged
from ftjax.distributed.sharding import Sharding
from ftjax.errors import check_name
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Inputs, Variables
from ftjax.xla.late_products import late_products
from ftjax.xla.program_cache import program
from ftjax.xla.stage_forward import apply_in_parts


@dataclasses.dataclass(frozen=True)
class Forward:
    """`run(variables, inputs) -> outputs`, in evaluation mode; fields as of `predict`."""

    network: Network
    preprocessing: Preprocessing | TextPreprocessing | None
    start: str | None
    sharding: Sharding
    stage: str | None = None
    tta: str = 'none'

    def __call__(self, variables: Variables, inputs: Inputs) -> Any:
        stages, stop = self.network.stages, None
        if self.stage is not None and self.stage != stages[-1]:
            stop = stages[stages.index(self.stage) + 1]

        def run(inputs: Inputs) -> Any:
            if self.start is None and self.preprocessing is not None:
                inputs = prepare(inputs, self.preprocessing)
            with late_products(variables):
                outputs = apply_in_parts(
                    self.network, variables, inputs, self.sharding, self.start, stop
                )
            return outputs if self.stage is None else embedding(outputs, inputs)

        return averaged(run, inputs, self.tta)


def embedding(outputs: Any, inputs: Inputs) -> jax.Array:
    """One vector an example of what a stage passes on: float32 (B, width).

    The mean over the tokens of a text, padding left out, or over the positions of an image;
    what has no positions any more, and a head's outputs, as they are.
    """
    hidden = outputs['hidden'] if isinstance(outputs, Mapping) else outputs
    mask = inputs.get('attention_mask') if isinstance(inputs, Mapping) else None  # not of a table
    return mean_over_positions(hidden.astype(jnp.float32), mask)


def mean_over_positions(hidden: Any, mask: Any = None) -> Any:
    """The mean over the positions of each example: (B, width), of what numpy or jax holds.

    Args:
      hidden: float32 (B, .., width); (B, width) has no positions, and is given as it is.
      mask: (B, ..), 1 at the positions that count. Of None, or another shape, all positions count.

    >>> mean_over_positions(np.array([[[1.0], [3.0], [9.0]]]), np.array([[1, 1, 0]])).tolist()
    [[2.0]]
    """
    if hidden.ndim == 2:
        return hidden
    flat = hidden.reshape(hidden.shape[0], -1, hidden.shape[-1])
    if mask is None or hidden.shape[:-1] != mask.shape:
        return flat.mean(axis=1)
    real = mask.reshape(flat.shape[:2]).astype(np.float32)[..., None]
    return (flat * real).sum(axis=1) / real.sum(axis=1).clip(1)


def predict(
    network: Network,
    variables: Variables,
    batches: Iterable[dict],
    preprocessing: Preprocessing | TextPreprocessing | None = None,
    start: str | None = None,
    sharding: Sharding | None = None,
    stage: str | None = None,
    tta: str = 'none',
) -> Iterator[tuple[np.ndarray, dict]]:
    """(outputs, batch) of every batch, in evaluation mode; padded rows are included.

    Args:
      batches: as `eval_batches` gives them; 'mask' is 0 for padding.
      preprocessing: normalises images; None for inputs that are ready.
      start: the stage that takes the inputs; None for the first, which takes raw ones.
      sharding: the devices, and where the variables lie if they lie there already; by default all
        devices hold them.
      stage: its `embedding` is given in place of the outputs.
      tta: as `config.data.tta`.

    Raises:
      UserError: the network has no stage of that name.
    """
    if stage is not None:
        check_name(stage, network.stages, 'stage')
    where = sharding or Sharding()
    run = Forward(network, preprocessing, start, where, stage, tta)
    for outputs, batch in batch_by_batch(run, variables, batches, where):
        yield np.asarray(outputs)[: len(batch['mask'])], batch


def batch_by_batch(
    run: Callable[[Variables, Inputs], Any],
    variables: Variables,
    batches: Iterable[dict],
    sharding: Sharding,
) -> Iterator[tuple[Any, dict]]:
    """(what `run` gives, batch) of every batch; rows that fill up the devices are included.

    Args:
      run: its own key among compiled programs; see `program`.
      batches: as `eval_batches` gives them.
      sharding: the devices; variables that do not lie there yet are copied to all of them.
    """
    one = sharding.devices == 1
    variables = variables if placed(variables, sharding) else sharding.copied(variables)
    places = None if one else sharding.whole
    for batch in batches:
        inputs = sharding.batch(batch['inputs'] if one else sharding.padded(batch['inputs']))
        yield program(run, variables, inputs, places=places).call(variables, inputs), batch


def placed(variables: Variables, sharding: Sharding) -> bool:
    """Whether variables lie on the mesh of a sharding already, each in its place there."""
    return sharding.fsdp > 1 and all(
        isinstance(leaf, jax.Array)
        and isinstance(leaf.sharding, jax.sharding.NamedSharding)
        and leaf.sharding.mesh == sharding.mesh
        for leaf in jax.tree.leaves(variables)
    )
