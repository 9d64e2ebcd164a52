"""Visual prompt tuning: learned tokens beside those of the input."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ftjax.errors import UserError
from ftjax.models.adapters.adapter import Adapter, Site
from ftjax.registry import register


@register('adapter', 'prompt')
@dataclasses.dataclass(frozen=True)
class Prompt(Adapter):
    """`tokens` learned tokens before the first block, or (`deep`) anew before every block.

    They stand after the first token and are dropped after the last block, so that what reads
    the tokens afterwards finds the network's own (Jia et al. 2022, arXiv:2203.12119). Unlike
    the other adapters this one changes the output from the start: attention sees the tokens.
    """

    kind = 'prompt'
    tokens: int = 5
    deep: bool = False

    def call(self, site: Site, run: Callable, args: tuple, kwargs: dict) -> object:
        """Puts the tokens in before a block and takes them out after it."""
        if not site.is_block:
            return run(*args, **kwargs)
        enters = self.deep or site.path == site.blocks[0]
        leaves = self.deep or site.path == site.blocks[-1]
        state = dict(args[0])
        hidden = state['hidden']
        if hidden.ndim != 3:
            raise UserError(f'prompt: {site.path} carries an image, not tokens; use adapter or ssf')
        if 'place' in state:
            raise UserError('prompt: its tokens stand within a text, which is not kept as it grows')
        if enters:
            shape = (self.tokens, hidden.shape[-1])
            tokens = site.add('prompt_tokens', prompt_init, shape).astype(hidden.dtype)
            tokens = jnp.broadcast_to(tokens, (len(hidden), *shape))
            state['hidden'] = jnp.concatenate([hidden[:, :1], tokens, hidden[:, 1:]], axis=1)
            if 'mask' in state and state['mask'].dtype != bool:
                raise UserError(
                    'prompt: its tokens belong to one text, and with data.packing a row holds '
                    'several; turn data.packing off'
                )
            if 'mask' in state:
                ones = jnp.ones((len(hidden), self.tokens), state['mask'].dtype)
                mask = state['mask']
                state['mask'] = jnp.concatenate([mask[:, :1], ones, mask[:, 1:]], axis=1)
        out = dict(run(state, *args[1:], **kwargs))
        if leaves:
            for name in ('hidden', 'mask'):
                if name in out:
                    kept = out[name][:, 1 + self.tokens :]
                    out[name] = jnp.concatenate([out[name][:, :1], kept], axis=1)
        return out


def prompt_init(key, shape):
    """Uniform within Xavier's bound for (tokens, width)."""
    bound = (6 / (shape[0] + shape[1])) ** 0.5
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)
