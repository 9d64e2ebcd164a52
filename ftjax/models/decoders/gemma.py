"""Gemma 1, 2 and 3, text alone (Gemma Team 2024, 2024, 2025)."""

from __future__ import annotations

from typing import ClassVar

from ftjax.errors import UserError
from ftjax.models.decoders.llama import Llama


class Gemma(Llama):
    """Stages `embed, block_00 .., norm[, head]`: Llama's form with scaled words.

    Norms multiply by 1 + scale. Gemma 2 has norms before and after each branch, bounds on scores
    and logits, and a window in every other block; Gemma 3 has norms on queries and keys in place
    of the bounds, and other positions in the blocks with a window. Without `causal` it is
    EmbeddingGemma's form.

    >>> Gemma(depth=1, width=32, heads=4, head_dim=8).stages
    ('embed', 'block_00', 'norm')
    """

    norms_from_one: ClassVar[bool] = True
    vocab_size: int = 256000
    max_positions: int = 8192
    head_dim: int | None = 256
    act: str = 'gelu_tanh'
    tied: bool = True
    norms: str = 'pre'  # pyrefly: ignore
    query_scale: float | None = None  # pyrefly: ignore
    attention_cap: float | None = None  # pyrefly: ignore
    logit_cap: float | None = None  # pyrefly: ignore
    full_blocks: tuple[int, ...] = ()
    """The blocks without the window, counted from 0; the others have it."""
    local_theta: float | None = None
    """The base of rotary positions in blocks with the window, which have no scaling then; None
    for as in the others."""
    model_type: str = 'gemma'

    def __post_init__(self):
        super().__post_init__()
        if self.full_blocks and not set(self.full_blocks) <= set(range(self.depth)):
            raise UserError(f'gemma: full_blocks {self.full_blocks} of {self.depth} blocks')

    @property
    def embed_scale(self) -> float:  # pyrefly: ignore
        return self.width**0.5

    def window_of(self, index: int) -> int | None:
        return None if index in self.full_blocks else self.window

    def theta_of(self, index: int) -> float:
        return self.local_theta if self._is_local(index) else self.rope_theta  # pyrefly: ignore

    def scaling_of(self, index: int) -> tuple[str | float, ...] | None:
        return None if self._is_local(index) else self.rope_scaling

    def _is_local(self, index: int) -> bool:
        return self.local_theta is not None and self.window_of(index) is not None
