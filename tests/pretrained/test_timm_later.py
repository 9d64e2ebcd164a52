"""Files of timm for DINOv3, Swin V2 and EfficientNet: every leaf has one name, outputs agree.

timm itself is no part of the tests. The names are those of its modules, written down here apart
from the key maps; the numbers are those of the same network in transformers, whose tensors are
saved under timm's names.
"""

import json
import re

import numpy as np
import pytest
from parity_engine import quick_jit

from ftjax.errors import UserError
from ftjax.models.vision.efficientnet import EfficientNet
from ftjax.pretrained import families
from ftjax.pretrained.config_check import check_config
from ftjax.pretrained.families.vision import efficientnet_timm
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.open import load_pretrained

SWIN = {'embed_dim': 8, 'depths': [1, 2], 'num_heads': [2, 4], 'window_size': 3, 'img_size': 24}
SWIN |= {'pretrained_window_sizes': [0, 2]}
VIT = {'embed_dim': 16, 'depth': 2, 'num_heads': 2, 'patch_size': 8, 'img_size': 24}
VIT |= {'num_reg_tokens': 3}
CONFIGS = {
    'swinv2_tiny_window8_256.ms_in1k': SWIN,
    'swinv2_base_window12to24_192to384.ms_in22k_ft_in1k': SWIN,
    'vit_small_patch16_dinov3.lvd1689m': VIT,
    'vit_small_plus_patch16_dinov3_qkvb.lvd1689m': VIT,
    'tf_efficientnet_b0.ns_jft_in1k': {},
}


def opened(architecture, arguments, tmp_path, **more):
    config = {'architecture': architecture, 'num_classes': 3, 'model_args': arguments, **more}
    family = families.family_of_config(config)
    checked, _ = check_config(family, config, tmp_path / 'config.json')
    return family, checked, families.module(family).network_from_config(checked)


@pytest.mark.parametrize('architecture', CONFIGS)
def test_leaves_and_names(architecture, tmp_path):
    family, config, network = opened(architecture, CONFIGS[architecture], tmp_path)
    *_, timm = families.module(family).key_map(config)
    assert timm.family.endswith('(timm)')
    names = {}
    for key in leaf_shapes(network):
        name, match = timm.source_of(key)
        assert key in timm.match(name).keys and key in match.keys
        names.setdefault(name, set()).add(key)
    assert all(names[name] == set(timm.match(name).keys) for name in names)
    assert families.key_map(family, config, names) == timm
    assert network.num_classes == 3


def test_sizes_of_published_networks(tmp_path):
    _, _, network = opened('swinv2_large_window12to16_192to256.ms_in22k', {}, tmp_path)
    assert (network.width, network.depths, network.heads) == (192, (2, 2, 18, 2), (6, 12, 24, 48))
    assert (network.window, network.image_size) == (16, 256)
    assert network.pretrained_windows == (12, 12, 12, 6)
    _, _, network = opened('vit_huge_plus_patch16_dinov3.lvd1689m', {}, tmp_path, global_pool='avg')
    assert (network.width, network.depth, network.heads, network.gated) == (1280, 32, 20, True)
    assert (network.registers, network.pool, network.query_bias) == (4, 'mean', False)
    small = opened('vit_small_patch16_dinov3.lvd1689m', {}, tmp_path, num_classes=0)
    *_, timm = families.module('dinov3').key_map(small[1])
    assert len({timm.source_of(key)[0] for key in leaf_shapes(small[2])}) == 162


# What the converters of transformers give as depthwise_padding.
PADDING = {
    'b0': (),
    'b1': (16,),
    'b2': (5, 8, 16),
    'b3': (5, 18),
    'b4': (6,),
    'b5': (13, 27),
    'b6': (31,),
    'b7': (18,),
}


@pytest.mark.parametrize('size', PADDING)
def test_padding_of_efficientnet_is_that_of_its_image(size, tmp_path):
    config = {'architecture': f'tf_efficientnet_{size}.aa_in1k', 'num_classes': 3}
    found = efficientnet_timm.options(config)
    assert found['even_blocks'] == PADDING[size]
    network = families.module('efficientnet').network_from_config(config, image_size=32)
    assert isinstance(network, EfficientNet) and network.even_blocks == ()
    with pytest.raises(UserError, match='square image of an even side'):
        families.module('efficientnet').network_from_config(config, image_size=33)


def test_what_timm_can_say_and_we_cannot_is_refused(tmp_path):
    with pytest.raises(UserError, match='model_args'):
        opened('swinv2_tiny_window8_256', {'always_partition': True}, tmp_path)
    with pytest.raises(UserError, match="only 'avg' is"):
        opened('swinv2_tiny_window8_256', {}, tmp_path, global_pool='max')
    with pytest.raises(UserError, match="only 'avg' is"):
        opened('vit_base_patch16_dinov3', {}, tmp_path, global_pool='map')
    with pytest.raises(UserError, match='efficientnet_b0'):
        opened('efficientnet_b0.ra_in1k', {}, tmp_path)


def fused(tensors, layer, parts, to):
    """Query, key and value as one tensor."""
    names = [f'{layer}.{part}.weight' for part in parts]
    tensors[f'{to}.qkv.weight'] = np.concatenate([tensors.pop(name) for name in names])
    for part, short in ((parts[0], 'q'), (parts[2], 'v')):
        if f'{layer}.{part}.bias' in tensors:
            tensors[f'{to}.{short}_bias'] = tensors.pop(f'{layer}.{part}.bias')


def renamed(tensors, pairs):
    """Names rewritten by (expression, replacement), each over the whole name, first match."""
    result = {}
    for name, tensor in tensors.items():
        for pattern, to in pairs:
            if re.fullmatch(pattern, name):
                result[re.sub(pattern, to, name)] = tensor
                break
        else:
            raise AssertionError(f'{name} has no name in timm')
    return result


def swin_names(tensors):
    layers = {m[0] for m in (re.match(r'.*\.attention', n) for n in tensors) if m}
    for layer in sorted(layers):
        stage, block = re.findall(r'\.(\d+)', layer)
        to = f'layers.{stage}.blocks.{block}.attn'
        fused(tensors, f'{layer}.self', ('query', 'key', 'value'), to)
    block = r'swinv2\.encoder\.layers\.(\d+)\.blocks\.(\d+)'
    down = r'swinv2\.encoder\.layers\.0\.downsample\.(.*)'
    return renamed(
        tensors,
        [
            (r'(layers\..*\.attn\.(qkv\.weight|q_bias|v_bias))', r'\1'),
            (r'swinv2\.embeddings\.patch_embeddings\.projection\.(.*)', r'patch_embed.proj.\1'),
            (r'swinv2\.embeddings\.norm\.(.*)', r'patch_embed.norm.\1'),
            (rf'{block}\.attention\.self\.logit_scale', r'layers.\1.blocks.\2.attn.logit_scale'),
            (
                rf'{block}\.attention\.self\.continuous_position_bias_mlp\.(.*)',
                r'layers.\1.blocks.\2.attn.cpb_mlp.\3',
            ),
            (rf'{block}\.attention\.output\.dense\.(.*)', r'layers.\1.blocks.\2.attn.proj.\3'),
            (rf'{block}\.layernorm_before\.(.*)', r'layers.\1.blocks.\2.norm1.\3'),
            (rf'{block}\.layernorm_after\.(.*)', r'layers.\1.blocks.\2.norm2.\3'),
            (rf'{block}\.intermediate\.dense\.(.*)', r'layers.\1.blocks.\2.mlp.fc1.\3'),
            (rf'{block}\.output\.dense\.(.*)', r'layers.\1.blocks.\2.mlp.fc2.\3'),
            (down, r'layers.1.downsample.\1'),
            (r'swinv2\.layernorm\.(.*)', r'norm.\1'),
            (r'classifier\.(.*)', r'head.fc.\1'),
        ],
    )


def vit_names(tensors):
    for number in range(2):
        layer = f'layer.{number}.attention'
        layer = next(n for n in tensors if f'{layer}.q_proj' in n).rpartition('.q_proj')[0]
        fused(tensors, layer, ('q_proj', 'k_proj', 'v_proj'), f'blocks.{number}.attn')
    layer = r'(?:model\.)?layer\.(\d+)'
    return renamed(
        {name: x for name, x in tensors.items() if not name.endswith('mask_token')},
        [
            (r'(blocks\..*)', r'\1'),
            (r'embeddings\.cls_token', 'cls_token'),
            (r'embeddings\.register_tokens', 'reg_token'),
            (r'embeddings\.patch_embeddings\.(.*)', r'patch_embed.proj.\1'),
            (rf'{layer}\.norm(\d)\.(.*)', r'blocks.\1.norm\2.\3'),
            (rf'{layer}\.attention\.o_proj\.(.*)', r'blocks.\1.attn.proj.\2'),
            (rf'{layer}\.layer_scale(\d)\.lambda1', r'blocks.\1.gamma_\2'),
            (rf'{layer}\.mlp\.gate_proj\.(.*)', r'blocks.\1.mlp.fc1_g.\2'),
            (rf'{layer}\.mlp\.up_proj\.(.*)', r'blocks.\1.mlp.GATED_\2'),
            (rf'{layer}\.mlp\.down_proj\.(.*)', r'blocks.\1.mlp.fc2.\2'),
            (r'norm\.(.*)', r'norm.\1'),
        ],
    )


def efficientnet_names(tensors):
    count, places = 0, []
    for stage, depth in enumerate(EfficientNet().depths):
        places += [(stage, block) for block in range(depth)]
        count += depth
    parts = {
        'expansion.expand_conv': 'conv_pw',
        'expansion.expand_bn': 'bn1',
        'depthwise_conv.depthwise_conv': 'conv_dw',
        'depthwise_conv.depthwise_norm': 'bn2',
        'squeeze_excite.reduce': 'se.conv_reduce',
        'squeeze_excite.expand': 'se.conv_expand',
        'projection.project_conv': 'conv_pwl',
        'projection.project_bn': 'bn3',
    }
    first = {'conv_dw': 'conv_dw', 'bn2': 'bn1', 'conv_pwl': 'conv_pw', 'bn3': 'bn2'}
    around = {
        'efficientnet.embeddings.convolution': 'conv_stem',
        'efficientnet.embeddings.batchnorm': 'bn1',
        'efficientnet.encoder.top_conv': 'conv_head',
        'efficientnet.encoder.top_bn': 'bn2',
        'classifier': 'classifier',
    }
    result = {}
    for name, tensor in tensors.items():
        layer, _, leaf = name.rpartition('.')
        found = re.fullmatch(r'efficientnet\.encoder\.blocks\.(\d+)\.(.*)', layer)
        if found is None:
            result[f'{around[layer]}.{leaf}'] = tensor
            continue
        stage, block = places[int(found[1])]
        part = parts[found[2]]
        part = first.get(part, part) if stage == 0 else part
        result[f'blocks.{stage}.{block}.{part}.{leaf}'] = tensor
    return result


def numbers_of(model, torch):
    """Random weights, running statistics included, as numpy."""
    torch.manual_seed(0)
    with torch.no_grad():
        for leaf in model.parameters():
            leaf.add_(torch.randn_like(leaf) * (0.1 if leaf.ndim > 1 else 0.3))
        for name, leaf in model.named_buffers():
            if name.endswith('running_mean'):
                leaf.add_(0.1 * torch.randn_like(leaf))
            if name.endswith('running_var'):
                leaf.mul_(0.5 + torch.rand_like(leaf))
    return {name: leaf.numpy() for name, leaf in model.state_dict().items()}


@pytest.mark.torch
@pytest.mark.parametrize('kind', ['swinv2', 'dinov3', 'dinov3_gated'])
def test_outputs_are_those_of_the_same_network_in_transformers(kind, tmp_path):
    compared(kind, tmp_path)


@pytest.mark.torch
@pytest.mark.slow
def test_outputs_of_efficientnet_too(tmp_path):
    compared('efficientnet', tmp_path)


def compared(kind, folder):
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    from safetensors.numpy import save_file

    if kind == 'swinv2':
        fields = {'image_size': 24, 'embed_dim': 8, 'depths': [1, 2], 'num_heads': [2, 4]}
        fields |= {'window_size': 3, 'pretrained_window_sizes': [0, 2], 'num_labels': 3}
        model = transformers.Swinv2ForImageClassification(transformers.Swinv2Config(**fields))
        config = {'architecture': 'swinv2_tiny_window8_256', 'num_classes': 3, 'model_args': SWIN}
        names = swin_names
    elif kind == 'efficientnet':
        fields = {'width_coefficient': 1.0, 'depth_coefficient': 1.0, 'hidden_dim': 1280}
        # 36 pixels: the images that are halved have 18, 9, 5 and 3 positions.
        fields |= {'image_size': 36, 'depthwise_padding': [3, 5, 11], 'num_labels': 3}
        made = transformers.EfficientNetConfig(**fields)
        model = transformers.EfficientNetForImageClassification(made)
        config = {'architecture': 'tf_efficientnet_b0.aa_in1k', 'num_classes': 3}
        config['pretrained_cfg'] = {'input_size': [3, 36, 36]}
        names = efficientnet_names
    else:
        gated = kind == 'dinov3_gated'
        fields = {'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 2}
        fields |= {
            'intermediate_size': 64,
            'patch_size': 8,
            'image_size': 24,
            'layer_norm_eps': 1e-5,
        }
        fields |= {'num_register_tokens': 3, 'use_gated_mlp': gated, 'query_bias': gated}
        fields |= {'value_bias': gated, 'hidden_act': 'silu' if gated else 'gelu'}
        model = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**fields))
        name = 'vit_small_plus_patch16_dinov3_qkvb' if gated else 'vit_small_patch16_dinov3'
        config = {'architecture': name, 'num_classes': 0, 'model_args': VIT, 'global_pool': 'avg'}
        names = vit_names
    tensors = names(numbers_of(model.eval(), torch))
    up = 'fc1_x.' if kind == 'dinov3_gated' else 'fc1.'
    tensors = {n.replace('GATED_', up): np.ascontiguousarray(x) for n, x in tensors.items()}
    save_file(tensors, folder / 'model.safetensors')
    (folder / 'config.json').write_text(json.dumps(config))
    found = load_pretrained(str(folder))
    size = found.network.example_input(1).shape[1:]
    images = np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)
    with torch.no_grad():
        out = model(pixel_values=torch.from_numpy(images).permute(0, 3, 1, 2))
    if kind.startswith('dinov3'):
        expected = out.last_hidden_state[:, 1 + 3 :].mean(dim=1).numpy()
    else:
        expected = out.logits.numpy()
    ours = quick_jit(found.network.apply)(found.variables, images)
    ours = np.asarray(ours['hidden'] if isinstance(ours, dict) else ours)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected).std() > 1e-3
