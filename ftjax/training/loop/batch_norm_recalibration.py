"""Running statistics of BatchNorm, estimated anew for weights or data that have changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.images.on_device import prepare
from ftjax.distributed.sharding import Sharding
from ftjax.leaves import flatten, unflatten
from ftjax.models.stages import Mode, Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Batch, Inputs, Variables
from ftjax.xla.program_cache import program, replicated


@dataclasses.dataclass(frozen=True)
class BatchStatistics:
    """`run(variables, inputs) -> statistics` of some stages on one batch."""

    network: Network
    preprocessing: Preprocessing | TextPreprocessing | None
    stages: frozenset[str]

    def __call__(self, variables: Variables, inputs: Inputs) -> Variables:
        if self.preprocessing is not None:
            inputs = prepare(inputs, self.preprocessing)
        modes = {name: Mode(deterministic=True, batch_stats=True) for name in self.stages}

        def moved(value):
            stats = dict(variables['batch_stats'])
            for name in self.stages:
                stats[name] = jax.tree.map(lambda x: jnp.full_like(x, value), stats[name])
            given = {**variables, 'batch_stats': stats}
            _, found = self.network.apply(given, inputs, modes=modes, mutable=['batch_stats'])
            return {name: found['batch_stats'][name] for name in self.stages}

        # A running value r becomes m r + (1 - m) b: from r = 0 and r = 1 follow m, then b.
        return jax.tree.map(lambda low, high: low / (1 - (high - low)), moved(0.0), moved(1.0))


def recomputed(
    network: Network,
    variables: Variables,
    batches: Iterable[Batch],
    preprocessing: Preprocessing | TextPreprocessing | None = None,
    stages: Collection[str] | None = None,
) -> dict[str, object]:
    """The variables with means and variances of all `batches`, of equal size; no labels are used.

    Each batch is normalised by itself, as in training. The variance of the whole is the mean of
    the batches' (unbiased) variances plus the variance of their means, so nothing depends on
    momentum. With `stages`, all others normalise by the statistics they have and keep them.
    Variables without `batch_stats` come back as they are.
    """
    own = variables.get('batch_stats') or {}
    chosen = frozenset(name for name in own if stages is None or name in stages)
    if not chosen:
        return dict(variables)
    run = BatchStatistics(network, preprocessing, chosen)
    sharding, variables = Sharding(), replicated(dict(variables))
    places = None if sharding.devices == 1 else sharding.whole
    seen: list[dict[str, np.ndarray]] = []
    for batch in batches:
        even = all(len(leaf) % sharding.devices == 0 for leaf in jax.tree.leaves(batch))
        inputs = sharding.batch(batch) if even else sharding.copied(batch)
        compiled = program(run, variables, inputs, places=places)
        found = flatten(jax.device_get(compiled.call(variables, inputs)))
        seen.append({path: np.asarray(leaf, np.float64) for path, leaf in found.items()})
    total: dict[str, np.ndarray] = {}
    for path in seen[0]:
        leaves = np.stack([found[path] for found in seen])
        value = leaves.mean(axis=0)
        if path.endswith('/var'):
            value += np.stack([found[f'{path[:-3]}mean'] for found in seen]).var(axis=0)
        total[path] = value.astype(np.float32)
    made = jax.device_get(variables)
    return {**made, 'batch_stats': {**made['batch_stats'], **unflatten(total)}}
