"""How the next token is chosen from the logits of a language model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import jax
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.field_types import check_fields
from ftjax.ranges import at_least, between

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, Key


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """Greedy, or drawn from a distribution that is sharpened and cut off.

    In this order, as in transformers: logits are divided by the temperature, all but the `top_k`
    largest are left out, then the least probable whose shares lie beyond `top_p` (Holtzman et al.
    2020, arXiv:1904.09751).
    """

    temperature: Annotated[float, at_least(0)] = 0.0
    """0 for greedy: the most probable token always."""
    top_k: Annotated[int, at_least(0)] = 0
    """So many most probable tokens alone; 0 for all."""
    top_p: Annotated[float, between(0, 1, ends='high')] = 1.0
    """The fewest most probable tokens with this probability together; 1 for all."""

    def __post_init__(self):
        check_fields(Sampling, vars(self), 'generation')
        for name, off in (('top_k', 0), ('top_p', 1.0)):
            if not self.temperature and getattr(self, name) != off:
                raise UserError(
                    f'generation: {name} is {getattr(self, name)} and has no effect at temperature '
                    f'0, which is greedy; set a temperature above 0, or leave {name} out'
                )

    def chosen(
        self, logits: Float[Array, 'batch vocabulary'], keys: Key[Array, ' batch']
    ) -> Int[Array, ' batch']:
        """The token of each row; `keys` are of each row, so that no row depends on the others."""
        if not self.temperature:
            return logits.argmax(axis=-1)
        return jax.vmap(jax.random.categorical)(keys, self.kept(logits))

    def kept(self, logits: Float[Array, 'batch vocabulary']) -> Float[Array, 'batch vocabulary']:
        """Logits to draw from: minus infinity of what is left out."""
        logits = logits / self.temperature
        if 0 < self.top_k < logits.shape[-1]:
            least = jax.lax.top_k(logits, self.top_k)[0][:, -1:]
            logits = jnp.where(logits < least, -jnp.inf, logits)
        if self.top_p < 1:
            falling = -jnp.sort(-logits, axis=-1)
            shares = jax.nn.softmax(falling, axis=-1)
            # What comes before a token of those that are kept has less than top_p.
            before = jnp.cumsum(shares, axis=-1) - shares
            count = (before < self.top_p).sum(axis=-1, keepdims=True)
            least = jnp.take_along_axis(falling, count - 1, axis=-1)
            logits = jnp.where(logits < least, -jnp.inf, logits)
        return logits


GREEDY = Sampling()
