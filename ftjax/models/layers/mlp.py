"""Layers shared by the families: the perceptron block, stochastic depth, LayerScale."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.errors import check_name
from ftjax.models.layers.norms import GlobalResponseNorm, WrittenLayerNorm
from ftjax.models.stages import Mode

if TYPE_CHECKING:
    from jaxtyping import Array, Float


def gelu(x: Float[Array, '*axes']) -> Float[Array, '*axes']:
    """The Gaussian error linear unit: x times the normal distribution function.

    By `erf` in float32, as PyTorch's, also of half precision: `jax.nn.gelu` takes `erfc`, which
    keeps more digits far below 0, and takes twice as long on a CPU and 3 % of a ViT's step on a
    GPU.
    """
    x32 = x.astype(jnp.float32)
    return (0.5 * x32 * (1 + jax.lax.erf(x32 * 0.5**0.5))).astype(x.dtype)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    'gelu': gelu,
    'gelu_tanh': lambda x: jax.nn.gelu(x, approximate=True),
    'quick_gelu': lambda x: x * jax.nn.sigmoid(1.702 * x),
    'relu': jax.nn.relu,
    'silu': jax.nn.silu,
    'tanh': jnp.tanh,
}


def activation(name: str) -> Callable[[Array], Array]:
    """An elementwise activation by name; raises UserError with the nearest name."""
    return ACTIVATIONS[check_name(name, ACTIVATIONS, 'activation')]


class Mlp(nn.Module):
    """Two dense layers with an activation between."""

    hidden: int
    act: str = 'gelu'
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32
    use_bias: bool = True
    response_norm: bool = False
    """Whether a GlobalResponseNorm follows the activation: (batch, h, w, width) then."""

    @nn.compact
    def __call__(self, x: Float[Array, '*axes width'], mode: Mode) -> Float[Array, '*axes width']:
        def dense(features, name):
            return nn.Dense(features, use_bias=self.use_bias, dtype=self.dtype, name=name)

        width = x.shape[-1]
        x = activation(self.act)(dense(self.hidden, 'fc1')(x))
        if self.response_norm:
            x = GlobalResponseNorm(self.dtype, name='response_norm')(x)
        x = dense(width, 'fc2')(x)
        return nn.Dropout(self.dropout)(x, deterministic=mode.deterministic)


class GatedMlp(nn.Module):
    """down(act(gate x) * up x) (Shazeer 2020)."""

    hidden: int
    act: str = 'silu'
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32
    dropout: float = 0.0
    """Of the products within."""

    @nn.compact
    def __call__(self, x: Float[Array, '*axes width'], mode: Mode) -> Float[Array, '*axes width']:
        def dense(features, name):
            return nn.Dense(features, use_bias=self.use_bias, dtype=self.dtype, name=name)

        gate, up = dense(self.hidden, 'gate')(x), dense(self.hidden, 'up')(x)
        inner = nn.Dropout(self.dropout)(
            activation(self.act)(gate) * up, deterministic=mode.deterministic
        )
        return dense(x.shape[-1], 'down')(inner)


class LayerScale(nn.Module):
    """A learned scale a channel on a residual branch (Touvron et al. 2021)."""

    initial: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, '*axes width']) -> Float[Array, '*axes width']:
        scale = self.param('scale', nn.initializers.constant(self.initial), (x.shape[-1],))
        return x * scale.astype(x.dtype)


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch for whole examples (Huang et al. 2016)."""

    rate: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, '*axes width'], mode: Mode) -> Float[Array, '*axes width']:
        # One draw an example, shared by its tokens or pixels: dropout with a broadcast mask.
        return nn.Dropout(self.rate, broadcast_dims=range(1, x.ndim))(
            x, deterministic=mode.deterministic
        )


def layer_norm(
    name: str | None, epsilon: float, dtype: DTypeLike = jnp.float32, *, use_bias: bool = True
) -> nn.Module:
    """LayerNorm with a two-pass variance: the one-pass form loses digits on large means.

    With a bias, on a CPU or a GPU, it has no forward-mode derivative (`jax.jvp`).
    """
    if use_bias and jax.default_backend() in ('cpu', 'gpu'):
        return WrittenLayerNorm(epsilon, dtype, name=name)
    return nn.LayerNorm(
        epsilon=epsilon, dtype=dtype, use_bias=use_bias, use_fast_variance=False, name=name
    )
