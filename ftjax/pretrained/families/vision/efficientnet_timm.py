"""EfficientNet under the names of timm, as it was trained in TensorFlow (`tf_efficientnet_b0` ..).

Those that were trained in PyTorch (`efficientnet_b0`) pad alike on all sides, the stem too, and are
not opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.models.layers.heads import pair
from ftjax.models.vision.efficientnet import EfficientNet
from ftjax.pretrained.families.vision.timm_config import options_from_timm
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, batch_norm, conv, dense, dense_1x1

NAMES = re.compile(r'tf_efficientnet_(b[0-8])(\..*)?')
# Factors of width and depth, the side of the image, dropout before the classifier.
SIZES = {
    'b0': (1.0, 1.0, 224, 0.2),
    'b1': (1.0, 1.1, 240, 0.2),
    'b2': (1.1, 1.2, 260, 0.3),
    'b3': (1.2, 1.4, 300, 0.3),
    'b4': (1.4, 1.8, 380, 0.4),
    'b5': (1.6, 2.2, 456, 0.4),
    'b6': (1.8, 2.6, 528, 0.5),
    'b7': (2.0, 3.1, 600, 0.5),
    'b8': (2.2, 3.6, 672, 0.5),
}
_SQUEEZE = ('reduce', 'expand')


def key_map(network: EfficientNet) -> KeyMap:
    """The map: blocks without an expansion name their layers otherwise."""
    rules = (
        *conv('conv_stem', 'stem/conv', bias=False),
        *batch_norm('bn1', 'stem/norm'),
        *(rule for stage in range(len(network.expansions)) for rule in _stage(network, stage)),
        *dense_1x1('conv_head', 'top/conv', bias=False),
        *batch_norm('bn2', 'top/norm'),
        *dense('classifier', 'head/dense'),
    )
    return KeyMap('efficientnet (timm)', rules, (r'.*\.num_batches_tracked',))


def _stage(network: EfficientNet, stage: int) -> Iterator[Rule]:
    block, path = f'blocks.{stage}.{{block}}', f'stage{stage + 1}_block{{block}}'
    expands = network.expansions[stage] != 1
    if expands:
        yield from dense_1x1(f'{block}.conv_pw', f'{path}/expand', bias=False)
        yield from batch_norm(f'{block}.bn1', f'{path}/expand_norm')
    yield from conv(f'{block}.conv_dw', f'{path}/conv', bias=False)
    yield from batch_norm(f'{block}.bn{1 + expands}', f'{path}/norm')
    for part in _SQUEEZE:
        yield from dense_1x1(f'{block}.se.conv_{part}', f'{path}/excite/{part}')
    yield from dense_1x1(f'{block}.conv_pw{"l" * expands}', f'{path}/project', bias=False)
    yield from batch_norm(f'{block}.bn{2 + expands}', f'{path}/project_norm')


def options(config: JsonObject, image_size: int | tuple[int, int] | None = None) -> dict[str, Any]:
    """The fields of the network of a timm config.

    Args:
      config: timm's config.json.
      image_size: what the network will see; None for what the config says. Where the image is
        odd, its padding is the same on both sides, so that this decides `even_blocks`.

    Raises:
      UserError: an image that no padding of transformers' form stands for.
    """
    named = NAMES.fullmatch(config['architecture'])
    assert named is not None  # the table of families led here by this very expression
    width, depth, side, dropout = SIZES[named[1]]
    base = {
        'width_factor': width,
        'depth_factor': depth,
        'head_dropout': dropout,
        'expansion_momentum': 0.01,
    }
    found = options_from_timm(config, base, {'drop_rate': 'head_dropout'}, pooled='avg')
    told = (config.get('pretrained_cfg') or {}).get('input_size', (3, side, side))[1:]
    size = pair(image_size or tuple(told))
    network = EfficientNet(width_factor=width, depth_factor=depth)
    both = [even_blocks(network, length) for length in size]
    if size[0] % 2 or size[1] % 2 or both[0] != both[1]:
        raise UserError(
            f'{config["architecture"]}: images of {size[0]} x {size[1]} pixels would be padded in '
            'another way in each direction; give a square image of an even side'
        )
    return {**found, 'image_size': size, 'even_blocks': both[0]}


def even_blocks(network: EfficientNet, side: int) -> tuple[int, ...]:
    """The blocks that halve an odd number of positions, where TensorFlow pads both sides alike."""
    found, count, side = [], 0, -(-side // 2)
    for depth, stride in zip(network.depths, network.strides, strict=True):
        if stride == 2:
            if side % 2:
                found.append(count)
            side = -(-side // 2)
        count += depth
    return tuple(found)
