"""ModernBERT (Warner et al. 2024): a pre-norm encoder with rotary positions and windows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ftjax.errors import UserError, check_name
from ftjax.models.encoders.text_encoder import Pool, TextHead
from ftjax.models.layers.mlp import GatedMlp, activation, layer_norm
from ftjax.models.layers.rotary import check_scaling
from ftjax.models.layers.rotary_attention import RotaryAttention
from ftjax.models.stages import Mode, Network


class ModernBERT(Network):
    """Stages `embed, block_00 .., norm[, pooler, head]`; norms have no bias.

    Input {'input_ids', 'attention_mask'}: int (batch, time). Most blocks see a window; those in
    `full_blocks` see all tokens. `norm` also pools: 'cls', 'mean' (of real tokens), or 'none' for
    one vector, and logits, a token. `pooler` is the dense layer and norm that masked language
    modelling has before its head too, so it comes with weights.

    >>> ModernBERT(depth=2, width=32, heads=2, num_classes=3).stages
    ('embed', 'block_00', 'block_01', 'norm', 'pooler', 'head')
    """

    vocab_size: int = 50368
    width: int = 768
    depth: int = 22
    heads: int = 12
    mlp_dim: int = 1152
    max_positions: int = 8192
    """How long a text it was trained on; nothing stops at it."""
    num_classes: int = 2
    pool: str = 'cls'
    act: str = 'gelu'
    pooler_act: str = 'gelu'
    epsilon: float = 1e-5
    norm_bias: bool = False
    qkv_bias: bool = False
    """Of all projections of attention."""
    mlp_bias: bool = False
    pooler_bias: bool = False
    window: int = 64
    """How far a token sees on either side."""
    full_blocks: tuple[int, ...] | None = None
    """The blocks without a window, counted from 0; None for every third, the first among them."""
    rope_theta: float = 160000.0
    rope_scaling: tuple[str | float, ...] | None = None
    local_theta: float = 10000.0
    """The base of rotary positions in blocks with a window."""
    dropout: float = 0.0
    """On the embeddings."""
    attention_dropout: float = 0.0
    """Of the attention weights, and of what attention answers."""
    mlp_dropout: float = 0.0
    """Within the perceptrons."""
    head_dropout: float = 0.0
    dtype: str = 'float32'
    pad_id: int | None = None
    """For transformers; here the mask shows what is padding."""

    def __post_init__(self):
        super().__post_init__()
        if self.width % self.heads or self.width // self.heads % 2:
            raise UserError(
                f'modernbert: width {self.width} is not {self.heads} heads of an even number of '
                'channels'
            )
        check_name(self.pool, ('cls', 'mean', 'none'), 'modernbert pool')
        if not set(self.full) <= set(range(self.depth)):
            raise UserError(f'modernbert: full_blocks {self.full_blocks} of {self.depth} blocks')
        check_scaling(self.rope_scaling, self.width // self.heads)

    @property
    def takes_tags(self) -> bool:
        return True

    @property
    def head_kind(self) -> str:
        return 'tags' if self.num_classes and self.pool == 'none' else ''

    @property
    def full(self) -> tuple[int, ...]:
        """The blocks without a window."""
        every = tuple(range(0, self.depth, 3))
        return every if self.full_blocks is None else self.full_blocks

    @property
    def stages(self) -> tuple[str, ...]:
        blocks = tuple(f'block_{i:02d}' for i in range(self.depth))
        return ('embed', *blocks, 'norm', *(('pooler', 'head') if self.num_classes else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        make_norm = partial(
            layer_norm, epsilon=self.epsilon, dtype=self.dtype, use_bias=self.norm_bias
        )
        if name == 'embed':
            return partial(
                WordEmbed, self.vocab_size, self.width, make_norm, self.dropout, self.dtype
            )
        if name == 'norm':
            return partial(NormPool, make_norm, self.pool)
        if name == 'pooler':
            return partial(DensePooler, self.pooler_act, self.pooler_bias, make_norm, self.dtype)
        if name == 'head':
            return partial(TextHead, self.num_classes, None, self.head_dropout, False)
        index = int(name.removeprefix('block_'))
        is_full, depth = index in self.full, self.width // self.heads
        attention = partial(
            RotaryAttention,
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=depth,
            rotary_dim=depth,
            causal=False,
            rope_theta=self.rope_theta if is_full else self.local_theta,
            rope_scaling=self.rope_scaling if is_full else None,
            qkv_bias=self.qkv_bias,
            out_bias=self.qkv_bias,
            make_norm=None,
            norm_whole=False,
            query_scale=None,
            cap=None,
            window=None if is_full else self.window,
            weight_dropout=self.attention_dropout,
            dtype=self.dtype,
        )
        mlp = partial(
            GatedMlp, self.mlp_dim, self.act, self.mlp_bias, self.dtype, dropout=self.mlp_dropout
        )
        return partial(Block, attention, mlp, make_norm, index > 0, self.attention_dropout)

    def example_input(self, batch_size: int = 1):
        tokens = jnp.zeros((batch_size, min(8, self.max_positions)), jnp.int32)
        return {'input_ids': tokens, 'attention_mask': jnp.ones_like(tokens)}


class WordEmbed(nn.Module):
    """Words and a norm: `hidden` (batch, time, width), `mask` (batch, time) bool."""

    vocab_size: int
    width: int
    make_norm: Callable[..., nn.Module]
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, inputs, mode: Mode):
        if not isinstance(inputs, dict) or 'input_ids' not in inputs:
            raise UserError("a text network takes {'input_ids': (batch, time), ..}")
        if inputs.get('token_type_ids') is not None:
            raise UserError('token_type_ids: this network has no token types')
        ids, mask = inputs['input_ids'], inputs.get('attention_mask')
        mask = jnp.ones(ids.shape, bool) if mask is None else jnp.asarray(mask, bool)
        init = nn.initializers.normal(0.02)
        table = nn.Embed(
            self.vocab_size, self.width, embedding_init=init, dtype=self.dtype, name='word_embed'
        )
        x = nn.Dropout(self.dropout)(
            self.make_norm(name='norm')(table(ids)), deterministic=mode.deterministic
        )
        return {'hidden': x, 'mask': mask}


class Block(nn.Module):
    """A pre-norm block; the first has no norm before attention, the embeddings having one."""

    make_attention: Callable[..., nn.Module]
    make_mlp: Callable[..., nn.Module]
    make_norm: Callable[..., nn.Module]
    first_norm: bool
    dropout: float
    """Of what attention answers."""

    @nn.compact
    def __call__(self, state, mode: Mode):
        x = state['hidden']
        y = self.make_norm(name='norm1')(x) if self.first_norm else x
        y = self.make_attention(name='attn')(y, state['mask'], mode)
        x = x + nn.Dropout(self.dropout)(y, deterministic=mode.deterministic)
        x = x + self.make_mlp(name='mlp')(self.make_norm(name='norm2')(x), mode)
        return {**state, 'hidden': x}


class NormPool(nn.Module):
    """Final norm and pooling: (batch, time, width) -> (batch, width), or one vector a token."""

    make_norm: Callable[..., nn.Module]
    pool: str

    @nn.compact
    def __call__(self, state, mode: Mode):
        state = {**state, 'hidden': self.make_norm(name='norm')(state['hidden'])}
        return state if self.pool == 'none' else Pool(self.pool)(state, mode)


class DensePooler(nn.Module):
    """A dense layer, an activation and a norm: (batch, width) in and out."""

    act: str
    use_bias: bool
    make_norm: Callable[..., nn.Module]
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state, mode: Mode):
        del mode
        x = state['hidden']
        x = nn.Dense(x.shape[-1], use_bias=self.use_bias, dtype=self.dtype, name='dense')(x)
        return {'hidden': self.make_norm(name='norm')(activation(self.act)(x))}
