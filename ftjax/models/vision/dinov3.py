"""DINOv3's vision transformers (Simeoni et al. 2025): rotary positions over the image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import numpy as np

from ftjax.errors import UserError
from ftjax.models.layers.mlp import GatedMlp, Mlp
from ftjax.models.vision.dinov2 import NormClassAndMean
from ftjax.models.vision.vit import Block, NormPool, ViT


class DINOv3(ViT):
    """Stages `embed, block_00 .., norm, head`; no table of positions, so any image size fits.

    Queries and keys of patches are turned by their place in the image. `pool` is 'cls',
    'mean' (of the patches) or 'cls_mean' (both, side by side). All blocks have the same rate
    of stochastic depth. While it was trained positions were scaled at random; here they are not.

    >>> DINOv3(depth=1, width=32, heads=2, num_classes=10).stages
    ('embed', 'block_00', 'norm', 'head')
    """

    width: int = 384
    heads: int = 6
    layer_scale: float | None = 1.0
    epsilon: float = 1e-5
    registers: int = 0
    gated: bool = False
    """SwiGLU in place of the perceptron; `mlp_dim` is its inner width."""
    rope_theta: float = 100.0
    query_bias: bool = True
    key_bias: bool = False
    value_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True

    def __post_init__(self):
        super().__post_init__()
        if not self.qkv_bias:
            raise UserError('dinov3: query_bias, key_bias and value_bias stand for qkv_bias')
        if (self.width // self.heads) % 4:
            raise UserError(
                f'dinov3: heads of {self.width // self.heads} channels, not a multiple of 4'
            )

    @property
    def pools(self) -> tuple[str, ...]:
        return ('cls', 'mean', 'cls_mean')

    @property
    def prefix_tokens(self) -> tuple[str, ...]:
        return ('cls_token',)

    @property
    def grid(self) -> None:  # pyrefly: ignore
        return None

    def make_stage(self, name: str) -> Callable[..., nn.Module]:
        stage = super().make_stage(name)
        if name == 'embed':
            return partial(stage, positions=False, registers=self.registers)
        if name == 'norm' and self.pool == 'cls_mean' and not self.is_dense:
            return partial(NormClassAndMean, 1 + self.registers, self.epsilon, self.dtype)
        if name == 'norm' and self.pool == 'mean' and not self.is_dense:
            return partial(NormPool, 'mean', 1 + self.registers, self.epsilon, self.dtype)
        if not name.startswith('block'):
            return stage
        assert isinstance(stage, partial)  # of Block: its fields are among these
        shared = {**stage.keywords, 'drop_path': self.drop_path}
        shared['qkv_bias'] = (self.query_bias, self.key_bias, self.value_bias)
        return partial(
            TurnedBlock,
            **shared,
            grid=self.patch_grid,
            rope_theta=self.rope_theta,
            out_bias=self.out_bias,
            mlp_bias=self.mlp_bias,
            gated=self.gated,
        )


class TurnedBlock(Block):
    """A block whose queries and keys are turned by their place in the image."""

    grid: tuple[int, int]
    rope_theta: float
    out_bias: bool
    mlp_bias: bool
    gated: bool

    def attention(self, x, mode):
        depth = x.shape[-1] // self.heads
        turned = axial_angles(self.grid, depth, self.rope_theta)
        # The tokens before the patches, prompts of an adapter among them, are not turned.
        before = x.shape[1] - len(turned)
        angle = np.concatenate([np.zeros((before, depth // 2), np.float32), turned])
        attn = self.self_attention(out_bias=self.out_bias)
        return attn(x, mode, angle=angle[:, None])

    def mlp(self, x, mode):
        if self.gated:
            mlp = GatedMlp(self.mlp_dim, self.act, self.mlp_bias, self.dtype, name='mlp')
        else:
            mlp = Mlp(self.mlp_dim, self.act, self.dropout, self.dtype, self.mlp_bias, name='mlp')
        return mlp(x, mode)


def axial_angles(grid: tuple[int, int], depth: int, theta: float) -> np.ndarray:
    """Angles of each patch, (patches, depth / 2) float32: half by its row, half by its column.

    Centres of patches lie between -1 and 1 along each side, whatever the size of the image.
    """
    sides = (2 * (np.arange(count) + 0.5) / count - 1 for count in grid)
    places = np.stack([axis.ravel() for axis in np.meshgrid(*sides, indexing='ij')], axis=-1)
    frequency = theta ** -(np.arange(depth // 4) * 4 / depth)
    return (2 * np.pi * places[:, :, None] * frequency).reshape(-1, depth // 2).astype(np.float32)
