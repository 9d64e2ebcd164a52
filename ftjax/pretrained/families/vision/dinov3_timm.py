"""DINOv3's vision transformers under the names of timm, where they are of its class Eva."""

from __future__ import annotations

import re
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.pretrained.families.vision.timm_config import options_from_timm
from ftjax.pretrained.families.vision.vit import BLOCK, QKV
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, conv, dense, norm

NAMES = re.compile(r'vit_(small|small_plus|base|large|huge_plus)_patch16_dinov3(_qkvb)?(\..*)?')
SIZES = {
    'small': (384, 12, 6),
    'small_plus': (384, 12, 6),
    'base': (768, 12, 12),
    'large': (1024, 24, 16),
    'huge_plus': (1280, 32, 20),
}
"""Width, depth, heads; those with a plus have SwiGLU."""
POOLS = {'token': 'cls', 'avg': 'mean'}
_ARGUMENTS = {
    'img_size': 'image_size',
    'patch_size': 'patch_size',
    'embed_dim': 'width',
    'depth': 'depth',
    'num_heads': 'heads',
    'init_values': 'layer_scale',
    'num_reg_tokens': 'registers',
    'rope_temperature': 'rope_theta',
}
_LAYER = 'blocks.{block}'


def key_map(*, gated: bool) -> KeyMap:
    """The map; the second layer of the perceptron is `down` where there is a gate."""
    mlp = {'fc1_g': 'gate', 'fc1_x': 'up', 'fc2': 'down'} if gated else {'fc1': 'fc1', 'fc2': 'fc2'}
    rules = (
        Rule('cls_token', 'embed/cls_token'),
        Rule('reg_token', 'embed/register_tokens'),
        *conv('patch_embed.proj', 'embed/patch_embed'),
        *norm(f'{_LAYER}.norm1', f'{BLOCK}/norm1'),
        Rule(
            f'{_LAYER}.attn.qkv.weight',
            tuple(f'{BLOCK}/attn/{part}/kernel' for part in QKV),
            'dense',
        ),
        Rule(f'{_LAYER}.attn.q_bias', f'{BLOCK}/attn/query/bias'),
        Rule(f'{_LAYER}.attn.v_bias', f'{BLOCK}/attn/value/bias'),
        *dense(f'{_LAYER}.attn.proj', f'{BLOCK}/attn/out'),
        Rule(f'{_LAYER}.gamma_1', f'{BLOCK}/ls1/scale'),
        *norm(f'{_LAYER}.norm2', f'{BLOCK}/norm2'),
        *(
            rule
            for theirs, ours in mlp.items()
            for rule in dense(f'{_LAYER}.mlp.{theirs}', f'{BLOCK}/mlp/{ours}')
        ),
        Rule(f'{_LAYER}.gamma_2', f'{BLOCK}/ls2/scale'),
        *norm('norm', 'norm/norm'),
        *dense('head', 'head/dense'),
    )
    return KeyMap('dinov3 (timm)', rules, (r'.*\.k_bias', r'rope\.periods'))


def options(config: JsonObject) -> dict[str, Any]:
    """The fields of the network of a timm config."""
    named = NAMES.fullmatch(config['architecture'])
    assert named is not None  # the table of families led here by this very expression
    width, depth, heads = SIZES[named[1]]
    gated, biased = named[1].endswith('plus'), bool(named[2])
    pooling = config.get('global_pool') or 'avg'
    base = {
        'image_size': 256,
        'patch_size': 16,
        'width': width,
        'depth': depth,
        'heads': heads,
        'gated': gated,
        'act': 'silu' if gated else 'gelu',
        'registers': 4,
        'query_bias': biased,
        'value_bias': biased,
        'pool': POOLS.get(pooling, 'cls'),
    }
    pooled = pooling if pooling in POOLS else 'avg'
    return options_from_timm(config, base, _ARGUMENTS, pooled=pooled)
