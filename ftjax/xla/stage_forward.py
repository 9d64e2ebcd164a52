"""The forward pass of a network whose weights lie in parts, without gradients."""

from __future__ import annotations

from typing import Any

from ftjax.distributed.sharding import Sharding
from ftjax.leaves import flatten, unflatten
from ftjax.models.shared_leaves import used_by
from ftjax.models.stage_names import stage_slice
from ftjax.models.stages import Network
from ftjax.pytrees import Inputs, Variables
from ftjax.xla.sliced_vocabulary import in_slices, sliced_of
from ftjax.xla.stage_weights import signal_of, whole_after


def apply_in_parts(
    network: Network,
    variables: Variables,
    inputs: Inputs,
    sharding: Sharding,
    start: str | None = None,
    stop: str | None = None,
) -> Any:
    """`network.apply(variables, inputs, start=, stop=)`, gathered stage by stage along `fsdp`.

    Without such an axis it is `network.apply` and nothing else.
    """
    if sharding.fsdp == 1:
        return network.apply(variables, inputs, start=start, stop=stop)
    others = {kind: leaves for kind, leaves in variables.items() if kind != 'params'}
    params, signal = flatten(variables['params']), signal_of(inputs)
    passed: Any = inputs
    names = stage_slice(network.stages, start, stop)
    for name, following in zip(names, [*names[1:], stop], strict=True):
        own = used_by(network.ties, name, params)
        sliced = sliced_of(network, own, sharding)
        own = whole_after(own, signal, sharding, sliced)
        signal = signal_of(passed)
        given = {'params': unflatten(own), **others}
        with in_slices(network, sharding):
            passed = network.apply(given, passed, start=name, stop=following)
    return passed
