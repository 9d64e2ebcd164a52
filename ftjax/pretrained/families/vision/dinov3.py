"""DINOv3's vision transformers under the names of transformers and timm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftjax.io.json.json_values import JsonObject
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.models.vision.dinov3 import DINOv3
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.config_fields import BACKBONE, TIMM, Fields, known
from ftjax.pretrained.families.vision import dinov3_timm
from ftjax.pretrained.families.vision.convnext import IMAGENET
from ftjax.pretrained.families.vision.timm_config import TIMM_FIELDS, pixels
from ftjax.pretrained.families.vision.vit import BLOCK, VIT_READS
from ftjax.pretrained.keymaps.hf_config import refuse, vit_fields, vit_options
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule, conv, dense, norm

NOT_MOVED = 'positions are not moved at random in training'
DETECTOR = 'of the backbone of a detector'
_BIASES = ('query_bias', 'key_bias', 'value_bias', 'mlp_bias')
OWN_PROCESSOR = 'DINOv3ViTImageProcessorFast'
FIELDS = {
    'dinov3_vit': Fields(
        reads=(
            *(*VIT_READS, *_BIASES, 'proj_bias', 'intermediate_size', 'rope_theta'),
            *('layerscale_value', 'drop_path_rate', 'use_gated_mlp', 'num_register_tokens'),
            'attention_dropout',
        ),
        inert={**BACKBONE, 'apply_layernorm': DETECTOR, 'reshape_hidden_states': DETECTOR},
        noise=dict.fromkeys(
            ('pos_embed_shift', 'pos_embed_jitter', 'pos_embed_rescale'), NOT_MOVED
        ),
    ),
    TIMM: TIMM_FIELDS,
}
_ATTENTION = {'q_proj': 'query', 'k_proj': 'key', 'v_proj': 'value', 'o_proj': 'out'}


def key_map(config: JsonObject) -> tuple[KeyMap, ...]:
    """The maps of both naming schemes; the layers of the perceptron follow from the config."""
    if 'architecture' in config:
        gated = dinov3_timm.options(config)['gated']
        return (dinov3_timm.key_map(gated=gated),)
    fields = {**known('dinov3_vit').defaults, **config}
    layer = 'layer.{block}'
    mlp = {'up_proj': 'fc1', 'down_proj': 'fc2'}
    if fields['use_gated_mlp']:
        mlp = {part: part.removesuffix('_proj') for part in ('gate_proj', 'up_proj', 'down_proj')}
    parts = {
        **{f'attention.{theirs}': f'attn/{ours}' for theirs, ours in _ATTENTION.items()},
        **{f'mlp.{theirs}': f'mlp/{ours}' for theirs, ours in mlp.items()},
    }
    rules = (
        Rule('embeddings.cls_token', 'embed/cls_token'),
        Rule('embeddings.register_tokens', 'embed/register_tokens'),
        *conv('embeddings.patch_embeddings', 'embed/patch_embed'),
        *norm(f'{layer}.norm1', f'{BLOCK}/norm1'),
        *norm(f'{layer}.norm2', f'{BLOCK}/norm2'),
        *(
            rule
            for theirs, ours in parts.items()
            for rule in dense(f'{layer}.{theirs}', f'{BLOCK}/{ours}')
        ),
        Rule(f'{layer}.layer_scale1.lambda1', f'{BLOCK}/ls1/scale'),
        Rule(f'{layer}.layer_scale2.lambda1', f'{BLOCK}/ls2/scale'),
        *norm('norm', 'norm/norm'),
    )
    unused = (r'embeddings\.mask_token',)
    if not fields['num_register_tokens']:
        unused += (r'embeddings\.register_tokens',)  # a tensor without elements
    timm = dinov3_timm.key_map(gated=fields['use_gated_mlp'])
    return KeyMap('dinov3_vit', rules, unused, ('model.',)), timm


def network_from_config(config: JsonObject, **overrides: object) -> Network:
    """The network of a config; none of transformers' classes has a classifier."""
    if 'architecture' in config:
        return build('dinov3', {**dinov3_timm.options(config), **overrides})
    fields = {**known('dinov3_vit').defaults, **config}
    options = {
        **vit_options({**fields, 'qkv_bias': True, 'hidden_dropout_prob': 0.0}),
        'layer_scale': fields['layerscale_value'],
        'drop_path': fields['drop_path_rate'],
        'gated': fields['use_gated_mlp'],
        'registers': fields['num_register_tokens'],
        'rope_theta': float(fields['rope_theta']),
        'out_bias': fields['proj_bias'],
        **{name: fields[name] for name in _BIASES},
        'num_classes': 0,
    }
    return build('dinov3', {**options, **overrides})


def config_from_network(network: Network, labels: Sequence[str]) -> dict[str, Any]:
    """The config.json that transformers opens."""
    del labels  # no classifier
    assert isinstance(network, DINOv3)
    refuse(network, _no_place(network))
    shared = ('qkv_bias', 'hidden_dropout_prob', 'attention_probs_dropout_prob')
    return {
        'model_type': 'dinov3_vit',
        'architectures': ['DINOv3ViTModel'],
        **{k: v for k, v in vit_fields(network).items() if k not in shared},
        'layerscale_value': network.layer_scale,
        'drop_path_rate': network.drop_path,
        'attention_dropout': network.attention_dropout,
        'use_gated_mlp': network.gated,
        'num_register_tokens': network.registers,
        'rope_theta': network.rope_theta,
        'proj_bias': network.out_bias,
        **{name: getattr(network, name) for name in _BIASES},
    }


def _no_place(network: DINOv3) -> str | None:
    if network.num_classes:
        return 'its DINOv3 has no classifier'
    if network.pool != 'cls':
        return f'its DINOv3 gives the class token, not {network.pool!r}'
    if network.stem != 'patch' or network.layer_scale is None or network.dropout:
        return 'its DINOv3 has patches, LayerScale and no dropout'
    return None


def preprocessing(config: JsonObject) -> Preprocessing:
    """What timm's config says; else ImageNet's mean and standard deviation."""
    network = network_from_config(config)
    assert isinstance(network, DINOv3)
    return pixels(config, network.image_hw, *IMAGENET)
