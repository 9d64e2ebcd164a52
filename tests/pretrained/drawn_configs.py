"""Draws odd configurations from the fields of transformers' classes."""

import numpy as np

from ftjax.pretrained import families
from ftjax.pretrained.config_fields import INERT, TIMM, known, table

MODEL_TYPES = {
    model_type: family
    for family in families.rows()
    for model_type in getattr(families.module(family), 'FIELDS', {})
    if known(model_type).defaults
    and not model_type.endswith('_vision_model')
    and model_type != TIMM
}
# Small enough to run, and odd already: no two sizes are equal.
SIZES = {
    'vocab_size': 53, 'hidden_size': 24, 'n_embd': 24, 'dim': 24, 'embed_dim': 12, 'd_model': 24,
    'num_hidden_layers': 2, 'n_layer': 2, 'n_layers': 2, 'num_attention_heads': 4, 'n_head': 4,
    'n_heads': 4, 'num_key_value_heads': 2, 'head_dim': 6, 'intermediate_size': 40,
    'hidden_dim': 40, 'max_position_embeddings': 32, 'n_positions': 32, 'image_size': 32,
    'patch_size': 8, 'num_channels': 3, 'depths': [1, 2], 'hidden_sizes': [8, 12],
    'num_heads': [2, 3], 'window_size': 2, 'num_stages': 2, 'embedding_size': 24,
    'projection_dim': 20, 'sliding_window': 4, 'max_window_layers': 1,
    'num_patches': 9,
}  # fmt: skip
BASES = {
    'resnet': {'embedding_size': 8},
    'swin': {'patch_size': 4},
    'dinov3_vit': {'num_attention_heads': 3},
    'efficientnet': {'hidden_dim': 320, 'width_coefficient': 0.25, 'depth_coefficient': 0.4},
    'dinov2': {'mlp_ratio': 2},
    'convnext': {'patch_size': 4},
    'roberta': {'max_position_embeddings': 40},
    'xlm-roberta': {'max_position_embeddings': 40},
    'camembert': {'max_position_embeddings': 40},
    # The fields of DeBERTa-v3 that its class does not list, with attention to offsets.
    'deberta-v2': {
        'relative_attention': True,
        'pos_att_type': ['p2c', 'c2p'],
        'position_buckets': 4,
        'norm_rel_ebd': 'layer_norm',
        'share_att_key': True,
    },
    'modernbert': {'pad_token_id': 0, 'local_attention': 4},
    'phi3': {'pad_token_id': 0},
}
ACTIVATION_FIELDS = (
    *('hidden_act', 'activation', 'activation_function', 'hidden_activation'),
    *('classifier_activation', 'pooler_hidden_act', 'summary_activation'),
)
KINDS = dict.fromkeys(('modernbert', 'gemma3_text'), ('full_attention', 'sliding_attention'))
"""Model type -> kinds of layers, where each has rotary positions of its own."""
ACTIVATIONS = (
    'gelu',
    'relu',
    'silu',
    'gelu_new',
    'quick_gelu',
    'gelu_pytorch_tanh',
    'mish',
    'tanh',
)
ODD = {
    'num_hidden_layers': (1, 3), 'n_layer': (1, 3), 'n_layers': (1, 3), 'hidden_size': (32, 48),
    'num_attention_heads': (2, 6, 8), 'num_key_value_heads': (1, 4, None),
    'head_dim': (8, 12, None),
    'intermediate_size': (17, 64), 'n_inner': (17, 64), 'image_size': (24, 33, 40, [24, 40]),
    'patch_size': (4, 5, 16), 'vocab_size': (64, 99), 'type_vocab_size': (0, 1, 3),
    'is_causal': (False, True, None), 'tie_word_embeddings': (True, False),
    'sliding_window': (2, 3, None), 'layer_types': (None, ['full_attention'] * 2),
    'rope_parameters': ({'rope_type': 'default', 'rope_theta': 77.0},
                        {'rope_type': 'linear', 'factor': 3.0, 'rope_theta': 1e4}),
    'window_size': (1, 3, 5), 'mlp_ratio': (1.5, 3.0), 'num_register_tokens': (0, 3),
    'pad_token_id': (0, 1, 5, None), 'classifier_dropout': (None, 0.3), 'initializer_range': (1.0,),
    'depths': ([2, 1], [1, 1]), 'hidden_sizes': ([12, 20],), 'num_channels': (1, 4),
    'embedding_size': (16, 24), 'local_attention': (2, 6, 8), 'classifier_pooling': ('mean',),
    'pooling_type': ('max',), 'layer_type': ('basic',), 'summary_type': ('last', 'mean'),
    'pos_att_type': (['c2p'], ['p2c'], 'p2c|c2p', None), 'norm_rel_ebd': ('none',),
    'max_relative_positions': (3, 5, 20), 'position_buckets': (3, 8, -1),
    'depthwise_padding': ([0], [2, 5]), 'width_coefficient': (0.5, 1.0),
    'depth_coefficient': (0.3, 1.0), 'attn_logit_softcapping': (None, 3.0),
    'final_logit_softcapping': (None, 3.0), 'query_pre_attn_scalar': (4, 9),
    'pretrained_window_sizes': ([2, 3],), 'num_hidden_groups': (2, 3),
}  # fmt: skip


def drawn(model_type, number):
    """The config.json of a draw and the fields that it changed; number 0 changes nothing."""
    random = np.random.default_rng([number, *model_type.encode()])
    defaults = known(model_type).defaults
    base = BASES.get(model_type, {})
    own = {k: v for k, v in SIZES.items() if k in defaults} | base
    defaults = {**defaults, **base}
    skipped = {*INERT, *table()['generation'], 'id2label', 'architectures', 'num_labels'}
    names = sorted(set(defaults) - skipped | {'is_causal', 'pad_token_id'} & set(defaults))
    count = 0 if not number else min(1 + int(random.integers(3)), len(names))
    changes = {}
    for name in random.choice(names, count, replace=False):
        changes[str(name)] = odd(str(name), defaults[name], random, KINDS.get(model_type))
    vision = defaults.get('vision_config', 0) != 0
    if vision:
        inner = {
            k: v for k, v in SIZES.items() if k in known(f'{model_type}_vision_model').defaults
        }
        own['vision_config'] = {**inner, **drawn_inside(model_type, number, random)}
        own['text_config'] = {'hidden_size': 8, 'num_hidden_layers': 1, 'num_attention_heads': 2,
                              'intermediate_size': 8, 'vocab_size': 9}  # fmt: skip
        changes = {}
    return {'model_type': model_type, **own, **changes}, changes


def drawn_inside(model_type, number, random):
    """Changes of the vision part of a larger class."""
    defaults = known(f'{model_type}_vision_model').defaults
    names = sorted(set(defaults) - {*INERT, *table()['generation'], 'id2label', 'num_labels'})
    count = 0 if not number else 1 + int(random.integers(3))
    return {str(n): odd(str(n), defaults[n], random) for n in random.choice(names, count, False)}


def odd(name, default, random, kinds=None):
    """Another value of a field than its default; `kinds` of layers that turn differently."""
    if name == 'rope_parameters' and kinds is not None:
        return rotations(kinds, random)
    if name in ODD:
        return ODD[name][random.integers(len(ODD[name]))]
    if name in ACTIVATION_FIELDS:
        return ACTIVATIONS[random.integers(len(ACTIVATIONS))]
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + int(random.integers(1, 4))
    if isinstance(default, float):
        return float(random.choice([0.0, 0.25, 1.5 * default]))
    if isinstance(default, list) and default and all(isinstance(x, int) for x in default):
        place, other = random.integers(len(default), size=2)
        return [*default[:place], default[other], *default[place + 1 :]]
    return random.choice(['x', None]) if isinstance(default, str) else None


def rotations(kinds, random):
    """Rotary positions for each kind of layer."""
    scaled = {'rope_type': 'linear', 'factor': 3.0, 'rope_theta': 1e4}
    plain = {'rope_type': 'default', 'rope_theta': float(random.integers(50, 500))}
    return {kind: scaled if random.integers(2) else plain for kind in kinds}
