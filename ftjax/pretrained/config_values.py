"""Kinds and ranges of the fields of a transformers or timm config.json, in one table.

A family reads what it needs by name; that the value can be what it says is checked here first,
for all families, before any size is used to make anything. A field that means different things
to two families has the kinds of both, and the network's own check (`models.field_kinds`) follows.
"""

from __future__ import annotations

import os

from ftjax.io.json.json_values import (
    Either,
    Flag,
    Integer,
    JsonObject,
    Kind,
    ListOf,
    Null,
    Number,
    Table,
    Text,
    check,
    check_table,
    optional,
)

_WIDTH, _INNER = Integer(1, 2**16), Integer(1, 2**20)
_DEPTH, _HEADS = Integer(1, 2048), Integer(1, 4096)
_ROWS = Integer(1, 2**31 - 1)
_SIDE = Integer(1, 2**16)
_SIDES = Either(_SIDE, ListOf(_SIDE, 2, 2))
_TOKEN = optional(Integer(-1, 2**31 - 1))
_SHARE = Number(0, 1)
_EPSILON = Number(0, 1)
_POSITIVE = Number(0, 1e30, low_belongs=False)
_ROTARY = optional(Table())
_LABEL = Either(Text(), Number(-1e30, 1e30), Flag(), Null())

KINDS: dict[str, Kind] = {
    'model_type': optional(Text()),
    'architecture': optional(Text()),
    'architectures': optional(ListOf(Text())),
    'id2label': optional(Table(of=_LABEL)),
    'num_labels': Integer(0, 10**7),
    'num_classes': Integer(0, 10**7),
    'vision_config': Table(),
    # sizes
    'hidden_size': _WIDTH,
    'embed_dim': _WIDTH,
    'embedding_size': _WIDTH,
    'n_embd': _WIDTH,
    'dim': _WIDTH,
    'intermediate_size': _INNER,
    'hidden_dim': _INNER,
    'n_inner': optional(_INNER),
    'projection_dim': optional(_INNER),
    'hidden_sizes': optional(ListOf(_WIDTH, longest=16)),
    'mlp_ratio': Number(0, 1000, low_belongs=False),
    'num_hidden_layers': _DEPTH,
    'n_layer': _DEPTH,
    'n_layers': _DEPTH,
    'num_stages': Integer(1, 16),
    'depths': optional(ListOf(Integer(1, 256), longest=16)),
    'num_attention_heads': _HEADS,
    'n_head': _HEADS,
    'n_heads': _HEADS,
    'num_key_value_heads': optional(_HEADS),
    'num_heads': Either(_HEADS, ListOf(_HEADS, 1, 16)),
    'head_dim': optional(_WIDTH),
    'vocab_size': _ROWS,
    'max_position_embeddings': _ROWS,
    'n_positions': _ROWS,
    'type_vocab_size': Integer(0, 2**16),
    'num_register_tokens': Integer(0, 2**16),
    # images
    'image_size': _SIDES,
    'patch_size': _SIDES,
    'num_channels': Integer(1, 4096),
    'window_size': _SIDES,
    'layer_type': Text(),
    'downsample_in_bottleneck': Flag(),
    'downsample_in_first_stage': Flag(),
    'use_absolute_embeddings': Flag(),
    'use_swiglu_ffn': Flag(),
    'use_gated_mlp': Flag(),
    'use_mean_pooling': Flag(),
    'use_absolute_position_embeddings': Flag(),
    'use_relative_position_bias': Flag(),
    'use_shared_relative_position_bias': Flag(),
    'query_bias': Flag(),
    'key_bias': Flag(),
    'value_bias': Flag(),
    'proj_bias': Flag(),
    'num_patches': _SIDE,
    'pretrained_window_sizes': ListOf(Integer(0, 2**16), 1, 16),
    'vision_use_head': optional(Flag()),
    'layer_scale_init_value': optional(Number(-1e6, 1e6)),
    'layerscale_value': optional(Number(-1e6, 1e6)),
    # what happens in a block
    'hidden_act': Text(),
    'activation': Text(),
    'hidden_activation': optional(Text()),
    'activation_function': Text(),
    'layer_norm_eps': _EPSILON,
    'layer_norm_epsilon': _EPSILON,
    'rms_norm_eps': _EPSILON,
    'qkv_bias': Flag(),
    'attention_bias': Flag(),
    'mlp_bias': Flag(),
    'hidden_dropout_prob': _SHARE,
    'attention_probs_dropout_prob': _SHARE,
    'attention_dropout': _SHARE,
    'attn_pdrop': _SHARE,
    'mlp_dropout': _SHARE,
    'classifier_dropout': optional(_SHARE),
    'dropout': _SHARE,
    'resid_pdrop': _SHARE,
    'seq_classif_dropout': _SHARE,
    'drop_path_rate': Number(0, 1, high_belongs=False),
    # texts
    'is_decoder': optional(Flag()),
    'position_embedding_type': optional(Text()),
    'tie_word_embeddings': optional(Flag()),
    'pad_token_id': _TOKEN,
    'bos_token_id': _TOKEN,
    'eos_token_id': Either(Integer(-1, 2**31 - 1), Null(), ListOf(Integer(-1, 2**31 - 1))),
    'rope_theta': _POSITIVE,
    'rope_scaling': _ROTARY,
    'rope_parameters': _ROTARY,
    'partial_rotary_factor': optional(Number(0, 1)),
    'sliding_window': optional(_ROWS),
    'use_sliding_window': optional(Flag()),
    'max_window_layers': Integer(0, 2**16),
    'sliding_window_pattern': Integer(1, 2**16),
    'global_attn_every_n_layers': Integer(1, 2**16),
    'local_attention': Integer(1, 2**31 - 1),
    'global_rope_theta': _POSITIVE,
    'local_rope_theta': _POSITIVE,
    'norm_eps': _EPSILON,
    'norm_bias': Flag(),
    'classifier_bias': Flag(),
    'classifier_activation': Text(),
    'classifier_pooling': Text(choices=('cls', 'mean')),
    'classifier_dropout_prob': _SHARE,
    'embedding_dropout': _SHARE,
    'cls_dropout': optional(_SHARE),
    'pooler_dropout': _SHARE,
    'pooler_hidden_act': Text(),
    'conv_act': Text(),
    'conv_kernel_size': Integer(0, 2**10),
    'conv_groups': Integer(1, 2**16),
    'num_hidden_groups': Integer(1, 2**16),
    'width_coefficient': Number(0, 100, low_belongs=False),
    'depth_coefficient': Number(0, 100, low_belongs=False),
    'depth_divisor': Integer(1, 2**12),
    'kernel_sizes': ListOf(Integer(1, 63), 1, 16),
    'in_channels': ListOf(_WIDTH, 1, 16),
    'out_channels': ListOf(_WIDTH, 1, 16),
    'depthwise_padding': ListOf(Integer(0, 2**16), 0, 4096),
    'strides': ListOf(Integer(1, 2), 1, 16),
    'num_block_repeats': ListOf(Integer(1, 256), 1, 16),
    'expand_ratios': ListOf(Integer(1, 256), 1, 16),
    'squeeze_expansion_ratio': Number(0, 1, low_belongs=False),
    'pooling_type': Text(),
    'batch_norm_eps': _EPSILON,
    'batch_norm_momentum': _SHARE,
    'dropout_rate': _SHARE,
    'drop_connect_rate': _SHARE,
    'position_buckets': Integer(-1, 2**20),
    'max_relative_positions': Integer(-1, 2**20),
    'relative_attention': Flag(),
    'position_biased_input': Flag(),
    'share_att_key': Flag(),
    'norm_rel_ebd': Text(),
    'pos_att_type': optional(Either(Text(), ListOf(Text()))),
    'use_bidirectional_attention': optional(Flag()),
    'query_pre_attn_scalar': _POSITIVE,
    'attn_logit_softcapping': optional(_POSITIVE),
    'final_logit_softcapping': optional(_POSITIVE),
    'rope_local_base_freq': _POSITIVE,
    'original_max_position_embeddings': _ROWS,
    'layer_types': optional(ListOf(Text())),
    # timm
    'global_pool': optional(Text()),
    'model_args': optional(Table()),
    'pretrained_cfg': Table(),
}
_ROPE: dict[str, Kind] = {
    'rope_type': Text(),
    'type': Text(),
    'rope_theta': _POSITIVE,
    'factor': _POSITIVE,
    'low_freq_factor': _POSITIVE,
    'high_freq_factor': _POSITIVE,
    'original_max_position_embeddings': _ROWS,
    'partial_rotary_factor': optional(Number(0, 1, low_belongs=False)),
    'attention_factor': optional(_POSITIVE),
    'short_factor': ListOf(_POSITIVE),
    'long_factor': ListOf(_POSITIVE),
}
_TIMM: dict[str, Kind] = {
    'input_size': ListOf(_SIDE, 3, 3),
    'mean': ListOf(Number(-1e6, 1e6), 1, 4096),
    'std': ListOf(Number(0, 1e6, low_belongs=False), 1, 4096),
    'interpolation': Text(),
    'crop_pct': Number(0, 1, low_belongs=False),
    'crop_mode': optional(Text()),
}
_NESTED = {'rope_scaling': _ROPE, 'rope_parameters': _ROPE, 'pretrained_cfg': _TIMM}


def check_values(config: JsonObject, where: str | os.PathLike[str]) -> None:
    """Refuses a config.json with a field that cannot be what it says.

    Raises:
      UserError: naming the file, the field, what was found and what was expected.
    """
    check_table(config, KINDS, str(where))
    for name, kinds in _NESTED.items():
        if config.get(name):
            check_table(config[name], kinds, f'{where}: {name}')
    for key in config.get('id2label') or ():
        check(len(key), f'{where}: the length of a key of id2label', Integer(1, 20))
    if 'vision_config' in config:
        check_values(config['vision_config'], f'{where}: vision_config')
