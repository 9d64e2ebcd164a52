"""Running statistics of BatchNorm, estimated anew for weights or data that have changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ftjax.data.device import prepare
from ftjax.models.stages import Mode, Network
from ftjax.training.programs import program, replicated


def recomputed(
    network: Network,
    variables: Mapping[str, Any],
    batches: Iterable[Any],
    preprocessing: Any = None,
) -> dict[str, Any]:
    """The variables with means and variances of all `batches`, of equal size; no labels are used.

    Each batch is normalised by itself, as in training. The variance of the whole is the mean of
    the batches' (unbiased) variances plus the variance of their means, so nothing depends on
    momentum.
    Variables without `batch_stats` come back as they are.
    """
    if not variables.get('batch_stats'):
        return dict(variables)
    mode = Mode(deterministic=True, batch_stats=True)

    def run(variables, inputs):
        if preprocessing is not None:
            inputs = prepare(inputs, preprocessing)

        def moved(value):
            stats = jax.tree.map(lambda x: jnp.full_like(x, value), variables['batch_stats'])
            given = {**variables, 'batch_stats': stats}
            _, found = network.apply(given, inputs, modes=mode, mutable=['batch_stats'])
            return found['batch_stats']

        # A running value r becomes m r + (1 - m) b: from r = 0 and r = 1 follow m, then b.
        return jax.tree.map(lambda low, high: low / (1 - (high - low)), moved(0.0), moved(1.0))

    variables = replicated(dict(variables))
    seen: list[dict[str, np.ndarray]] = []
    for batch in batches:
        inputs = jax.device_put(batch)
        compiled = program(('statistics', network, preprocessing), run, variables, inputs)
        found = flatten_dict(jax.device_get(compiled.call(variables, inputs)), sep='/')
        seen.append({path: np.asarray(leaf, np.float64) for path, leaf in found.items()})
    total: dict[str, np.ndarray] = {}
    for path in seen[0]:
        leaves = np.stack([found[path] for found in seen])
        value = leaves.mean(axis=0)
        if path.endswith('/var'):
            value += np.stack([found[f'{path[:-3]}mean'] for found in seen]).var(axis=0)
        total[path] = value.astype(np.float32)
    return {**jax.device_get(variables), 'batch_stats': unflatten_dict(total, sep='/')}
