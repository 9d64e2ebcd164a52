"""What decoders of text share: their stages, and which of two heads they end in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from ftjax.errors import UserError, check_name
from ftjax.models.decoders.text_decoder_stages import LinearHead, NormPool, TiedHead
from ftjax.models.encoders.text_encoder import VectorHead
from ftjax.models.stages import Network


class Decoder(Network):
    """Stages `embed, block_00 .., norm[, head]`, for families to give their parts.

    Input {'input_ids', 'attention_mask'}: int (batch, time); without a mask all tokens are
    real. Padding may be on either side. With `num_classes` the head is a classifier on the
    pooled token, (batch, num_classes), or with pool 'none' on every token. Without, `head` 'lm'
    is a language model's, on every token: (batch, time, vocab_size) float32; 'vector' gives the
    pooled token at length 1.

    A language model also takes `targets`, int (batch, time), ids of the tokens that are to follow:
    it answers with their `token_scores` and never holds all logits. With `segments`, int (batch,
    time), a row holds several texts: a token sees its own text alone, whose positions count from
    0; 0 is padding.

    With `place`, int (batch,), the tokens are the next ones of texts of which that many were seen,
    a whole beginning or one token, and `attention_mask` is of the longest text that there can be:
    keys and values go to the collection `cache`, and the logits are those of the last token.
    """

    logit_cap: ClassVar[float | None] = None
    """Of a language model's logits; None for no bound."""
    vocab_size: int = 50257
    width: int = 768
    depth: int = 12
    heads: int = 12
    max_positions: int = 1024
    num_classes: int = 0
    head: str = 'none'
    """What follows the norm where there are no classes: 'none', 'lm' or 'vector'."""
    tied: bool = True
    """Whether the language model's head is the table of word embeddings."""
    pool: str = 'last'
    """'last' (real token), 'mean' (of real tokens) or 'none'; not used with 'lm'."""
    causal: bool = True
    """Whether a token sees only itself and what is before it; else it sees all real tokens."""
    epsilon: float = 1e-5
    dtype: str = 'float32'
    pad_id: int | None = None
    """For transformers, whose classifier finds the last token by it; here the mask shows it."""
    bos_id: int | None = None
    """What a text starts with; not used here, kept for what generates."""
    eos_id: int | tuple[int, ...] | None = None
    """What a text ends with, for what generates; None where nobody says."""

    def __post_init__(self):
        super().__post_init__()
        check_name(self.head, ('none', 'lm', 'vector'), 'head')
        check_name(self.pool, ('last', 'mean', 'none'), 'pool')
        if self.head_kind == 'vector' and self.pool == 'none':
            raise UserError(f"{type(self).__name__}: head 'vector' needs pool 'last' or 'mean'")

    @property
    def end_ids(self) -> tuple[int, ...]:
        given = self.eos_id if isinstance(self.eos_id, tuple) else (self.eos_id,)
        return tuple(end for end in given if end is not None and end >= 0)

    @property
    def is_lm(self) -> bool:
        return self.head == 'lm' and not self.num_classes

    @property
    def is_decoder(self) -> bool:
        return self.is_lm and self.causal

    @property
    def head_kind(self) -> str:
        if self.num_classes:
            return 'tags' if self.pool == 'none' else ''
        return '' if self.head == 'none' else self.head

    @property
    def ties(self) -> dict[str, str]:
        return {'head': '/'.join(TABLE)} if self.is_lm and self.tied else {}

    @property
    def vocabulary_leaves(self) -> tuple[str, ...]:
        kernel = ('/'.join(KERNEL),) if self.is_lm and not self.tied else ()
        return ('/'.join(TABLE), *kernel)

    @property
    def stages(self) -> tuple[str, ...]:
        blocks = tuple(f'block_{i:02d}' for i in range(self.depth))
        has_head = self.num_classes or self.head != 'none'
        return ('embed', *blocks, 'norm', *(('head',) if has_head else ()))

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        if name == 'norm':
            return partial(NormPool, self.make_norm(), 'none' if self.is_lm else self.pool)
        if name == 'head' and self.head_kind == 'vector':
            return partial(VectorHead, 0)
        if name == 'head' and self.ties:
            return partial(TiedHead, TABLE, self.logit_cap)
        if name == 'head':
            # Few classes cost nothing in float32, a vocabulary does.
            dtype = 'float32' if self.num_classes else self.dtype
            cap = None if self.num_classes else self.logit_cap
            return partial(LinearHead, self.num_classes or self.vocab_size, dtype, cap)
        if name == 'embed':
            return self.make_embed()
        return self.make_block(int(name.removeprefix('block_')))

    def make_embed(self) -> Callable[..., nn.Module]:
        """The constructor of the embeddings."""
        raise NotImplementedError

    def make_block(self, index: int) -> Callable[..., nn.Module]:
        """The constructor of one block."""
        raise NotImplementedError

    def make_norm(self) -> Callable[..., nn.Module]:
        """The constructor of a normalisation, which takes a name."""
        raise NotImplementedError

    def example_input(self, batch_size: int = 1):
        tokens = jnp.zeros((batch_size, min(8, self.max_positions)), jnp.int32)
        return {'input_ids': tokens, 'attention_mask': jnp.ones_like(tokens)}


TABLE = ('embed', 'word_embed', 'embedding')
KERNEL = ('head', 'dense', 'kernel')
