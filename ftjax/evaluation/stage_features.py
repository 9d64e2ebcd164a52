"""What several stages give for every example of a split, from one forward pass of each batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from ftjax.data.images.on_device import prepare
from ftjax.distributed.sharding import Sharding
from ftjax.errors import check_name
from ftjax.evaluation.predict import batch_by_batch, embedding
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Inputs, Variables
from ftjax.xla.late_products import late_products


@dataclasses.dataclass(frozen=True)
class StageForward:
    """`run(variables, inputs) -> embeddings`, one of each stage, in evaluation mode."""

    network: Network
    preprocessing: Preprocessing | TextPreprocessing | None
    stages: tuple[str, ...]

    def __call__(self, variables: Variables, inputs: Inputs) -> tuple[jax.Array, ...]:
        names = self.network.stages
        after = max(map(names.index, self.stages)) + 1
        if self.preprocessing is not None:
            inputs = prepare(inputs, self.preprocessing)
        with late_products(variables):
            _, found = self.network.apply(
                variables,
                inputs,
                stop=names[after] if after < len(names) else None,
                taps=self.stages,
            )
        return tuple(embedding(found[stage], inputs) for stage in self.stages)


def stage_features(
    network: Network,
    variables: Variables,
    batches: Iterable[dict],
    preprocessing: Preprocessing | TextPreprocessing | None,
    stages: Sequence[str],
) -> list[np.ndarray]:
    """The `embedding` of each stage, float32 (examples, width), in the order of the split.

    Batches of texts come by length; padded rows are left out. No stage runs twice, and none after
    the last that is asked for.

    Args:
      batches: as `eval_batches` gives them.
      preprocessing: normalises images; None for inputs that are ready.
      stages: names of stages.

    Raises:
      UserError: the network has no stage of such a name.
    """
    for stage in stages:
        check_name(stage, network.stages, 'stage')
    run = StageForward(network, preprocessing, tuple(stages))
    found: list[list[np.ndarray]] = [[] for _ in stages]
    places = []
    for outputs, batch in batch_by_batch(run, variables, batches, Sharding()):
        mask = np.asarray(batch['mask'])
        real = mask.reshape(len(mask), -1).any(axis=1)
        places.append(np.asarray(batch['index'])[real])
        for rows, given in zip(found, outputs, strict=True):
            rows.append(np.asarray(given, np.float32)[: len(mask)][real])
    order = np.argsort(np.concatenate(places), kind='stable')
    return [np.concatenate(rows)[order] for rows in found]
