"""The programs of a bundle, traced from a network: preprocessing, network, embedding.

They are traced on a CPU, where no network takes a kernel that only one platform has (cuDNN's
attention, say), and lowered for CPU, CUDA and TPU at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.data.images.on_device import prepare
from ftjax.data.images.test_time import averaged
from ftjax.errors import UserError
from ftjax.evaluation.predict import embedding
from ftjax.leaves import unflatten
from ftjax.models.stages import Network
from ftjax.serving.bundle.exported_programs import PLATFORMS, jax_export, outside_calls
from ftjax.serving.bundle.signature import InputArray

IMAGES = 'images'
"""The name of the array that a network of images takes; others take dicts already."""


class Program(Protocol):
    """What is traced: a network, and how it is called."""

    @property
    def network(self) -> Network:
        """Whose weights it takes."""
        ...

    def __call__(
        self, weights: Mapping[str, jax.Array], inputs: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """Outputs and features."""
        ...


@dataclasses.dataclass(frozen=True)
class Served:
    """`(weights, inputs) -> {'outputs', 'features'}`; fields as of `evaluation.predict.Forward`."""

    network: Network
    preprocessing: Any
    tta: str = 'none'

    @property
    def stage(self) -> str:
        """Whose embedding goes out: the last before the head."""
        return self.network.stages[-2]

    def __call__(
        self, weights: Mapping[str, jax.Array], inputs: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array]:
        variables: Any = unflatten(dict(weights))
        taken, states = inputs.get(IMAGES, inputs), []

        def run(view: Any) -> jax.Array:
            ready = view if self.preprocessing is None else prepare(view, self.preprocessing)
            outputs, taps = self.network.apply(variables, ready, taps=(self.stage,))
            states.append(taps[self.stage])
            return outputs

        outputs = averaged(run, taken, self.tta)
        # The first view is the inputs as they are.
        features = embedding(states[0], taken)
        return {'outputs': outputs.astype(jnp.float32), 'features': features}


def trace(
    served: Program,
    weights: Mapping[str, Any],
    inputs: Mapping[str, InputArray],
    buckets: Sequence[int],
    platforms: Sequence[str] = PLATFORMS,
) -> dict[int, Any]:
    """A `jax.export.Exported` for each bucket, with a symbolic batch.

    Args:
      served: what is traced.
      weights: by leaf key; arrays, or their shapes.
      inputs: the arrays that it takes.
      buckets: lengths of texts in tokens, or (0,).
      platforms: that it is lowered for.

    Raises:
      UserError: no CPU; the network asks for the number of examples, or calls code outside XLA.
    """
    if jax.default_backend() != 'cpu':
        raise UserError(
            f'programs are exported on a CPU, and this process uses {jax.default_backend()}: '
            'set JAX_PLATFORMS=cpu'
        )
    export, found = jax_export(), {}
    leaves = {k: jax.ShapeDtypeStruct(np.shape(w), w.dtype) for k, w in weights.items()}
    name = type(served.network).__name__
    for bucket in buckets:
        (batch,) = export.symbolic_shape('batch')
        arrays = {
            key: jax.ShapeDtypeStruct((batch, *one.of_length(bucket)), one.dtype)
            for key, one in inputs.items()
        }
        try:
            exported = export.export(jax.jit(served), platforms=tuple(platforms))(leaves, arrays)
        except (jax.errors.ConcretizationTypeError, ValueError, TypeError) as error:
            if isinstance(error, UserError):
                raise
            reason = ' '.join(str(error).split())[:300]
            raise UserError(
                f'{name} cannot be exported for any number of examples: {reason}'
            ) from error
        calls = outside_calls(exported)
        if calls:
            raise UserError(f'{name} calls code outside XLA ({calls[0]}), which no bundle holds')
        found[bucket] = exported
    return found
