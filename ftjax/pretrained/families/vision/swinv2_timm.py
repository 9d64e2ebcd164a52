"""Swin V2 under the names of timm."""

from __future__ import annotations

import re
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.pretrained.families.vision.timm_config import options_from_timm
from ftjax.pretrained.families.vision.vit import QKV
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, conv, dense, norm

NAMES = re.compile(
    r'swinv2_(tiny|small|base|large)_window(\d+)(?:to(\d+))?_(\d+)(?:to(\d+))?(\..*)?'
)
# Width of the first stage, depth of the third, heads of the first.
SIZES = {'tiny': (96, 6, 3), 'small': (96, 18, 3), 'base': (128, 18, 4), 'large': (192, 18, 6)}
# Of those that grew: the last stage of an image of 192 pixels has 6 positions a side.
PRETRAINED = (12, 12, 12, 6)
_ARGUMENTS = {
    'img_size': 'image_size',
    'patch_size': 'patch_size',
    'embed_dim': 'width',
    'depths': 'depths',
    'num_heads': 'heads',
    'window_size': 'window',
    'mlp_ratio': 'mlp_ratio',
    'pretrained_window_sizes': 'pretrained_windows',
}
_BLOCK, _PATH = 'layers.{stage}.blocks.{block}', 'stage{stage+1}_block{block}'
MAP = KeyMap(
    'swinv2 (timm)',
    (
        *conv('patch_embed.proj', 'embed/patch_embed'),
        *norm('patch_embed.norm', 'embed/norm'),
        Rule(f'{_BLOCK}.attn.logit_scale', f'{_PATH}/attn/logit_scale'),
        *dense(f'{_BLOCK}.attn.cpb_mlp.0', f'{_PATH}/attn_bias/fc1'),
        *dense(f'{_BLOCK}.attn.cpb_mlp.2', f'{_PATH}/attn_bias/fc2', bias=False),
        Rule(
            f'{_BLOCK}.attn.qkv.weight',
            tuple(f'{_PATH}/attn/{part}/kernel' for part in QKV),
            'dense',
        ),
        Rule(f'{_BLOCK}.attn.q_bias', f'{_PATH}/attn/query/bias'),
        Rule(f'{_BLOCK}.attn.v_bias', f'{_PATH}/attn/value/bias'),
        *dense(f'{_BLOCK}.attn.proj', f'{_PATH}/attn/out'),
        *norm(f'{_BLOCK}.norm1', f'{_PATH}/norm1'),
        *norm(f'{_BLOCK}.norm2', f'{_PATH}/norm2'),
        *dense(f'{_BLOCK}.mlp.fc1', f'{_PATH}/mlp/fc1'),
        *dense(f'{_BLOCK}.mlp.fc2', f'{_PATH}/mlp/fc2'),
        *norm('layers.{stage}.downsample.norm', 'stage{stage+1}_block0/downsample/norm'),
        Rule(
            'layers.{stage}.downsample.reduction.weight',
            'stage{stage+1}_block0/downsample/reduction/kernel',
            'dense',
        ),
        *norm('norm', 'norm/norm'),
        *dense('head.fc', 'head/dense'),
    ),
    # They follow from the window.
    (r'.*\.(relative_coords_table|relative_position_index|attn_mask|k_bias)',),
)


def options(config: JsonObject) -> dict[str, Any]:
    """The fields of the network of a timm config."""
    named = NAMES.fullmatch(config['architecture'])
    assert named is not None  # the table of families led here by this very expression
    width, third, heads = SIZES[named[1]]
    base = {
        'image_size': int(named[5] or named[4]),
        'width': width,
        'depths': (2, 2, third, 2),
        'heads': tuple(heads << stage for stage in range(4)),
        'window': int(named[3] or named[2]),
        'pretrained_windows': PRETRAINED if named[3] else (0, 0, 0, 0),
        'drop_path': 0.1,
    }
    return options_from_timm(config, base, _ARGUMENTS, pooled='avg')
