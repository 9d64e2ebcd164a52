"""Every field of every config.json: what the families declare of it is what they do with it."""

import importlib
import json
import pathlib

import pytest

from ftjax.errors import UserError
from ftjax.pretrained import families
from ftjax.pretrained.config_check import check_config
from ftjax.pretrained.config_fields import EVERYWHERE, INERT, TIMM, known, table

FILE = pathlib.Path('config.json')
MODEL_TYPES = {
    model_type: family
    for family in families.rows()
    for model_type in getattr(families.module(family), 'FIELDS', {})
} | {TIMM: 'vit'}
CLASSES = [name for name in MODEL_TYPES if name != TIMM]
# Beyond the defaults: what makes a field count that by default another one silences.
WINDOWS = {'num_hidden_layers': 6, 'use_sliding_window': True, 'max_window_layers': 3}
BASES = {
    'qwen2': WINDOWS | {'num_key_value_heads': 8},
    'qwen3': WINDOWS | {'num_key_value_heads': 8},
    'llama': {'num_key_value_heads': 8, 'head_dim': 64},
    'mistral': {'head_dim': 64},
    'clip': {'architectures': ['CLIPModel'], 'vision_config': {'image_size': 64}},
    'siglip': {'vision_config': {'image_size': 64}},
    'clip_vision_model': {'architectures': ['CLIPVisionModelWithProjection']},
    'siglip_vision_model': {'architectures': ['SiglipVisionModel']},
    'olmo2': {'num_key_value_heads': 8},
    # Two channels of each head of 8 are turned.
    'phi3': {
        'hidden_size': 256,
        'num_key_value_heads': 8,
        'rope_parameters': {
            'rope_type': 'longrope',
            'short_factor': [1.0],
            'long_factor': [2.0],
            'partial_rotary_factor': 0.25,
        },
    },
    'gemma': {'num_attention_heads': 32},
    'siglip2': {'vision_config': {'num_patches': 64}},
    'siglip2_vision_model': {'architectures': ['Siglip2VisionModel']},
    'modernbert': {'num_hidden_layers': 6},
    'deberta-v2': {
        'relative_attention': True,
        'pos_att_type': ['c2p'],
        'num_attention_heads': 24,
        'conv_kernel_size': 3,
    },
    'efficientnet': {'width_coefficient': 1.0, 'hidden_dim': 1280},
    'gemma2': {'num_hidden_layers': 6},
    'gemma3_text': {'num_hidden_layers': 6},
    TIMM: {'architecture': 'vit_tiny_patch16_224', 'num_classes': 3, 'global_pool': 'token'},
}
OTHER = {
    'vision_config': {'image_size': 96},
    'vision_config_dict': {'image_size': 96},
    'rope_parameters': {'rope_theta': 7.0},
    'rope_scaling': {'rope_type': 'linear', 'factor': 3.0},
    'rope_theta': 7.0,
    'partial_rotary_factor': 0.5,
    'layer_types': ['chunked_attention'] * 6,
    'classifier_dropout': 0.7,
    'embedding_size': 77,
    'depths': [1, 2],
    'hidden_sizes': [1, 2],
    'num_heads': [2, 3, 4, 5],
    'layer_type': 'basic',
    'is_causal': False,
    'pruned_heads': {'0': [1]},
    'model_args': {'depth': 3},
    'pretrained_cfg': {'input_size': [1, 224, 224]},
    'architecture': 'vit_small_patch16_224',
    'n_inner': 100,
    'head_dim': 32,
    'window_size': 5,
    'num_attention_heads': 16,
    'n_head': 16,
    'n_heads': 8,
    'hidden_activation': 'relu',
    'num_patches': 100,
    'pretrained_window_sizes': [3, 3, 3, 3],
    'global_attn_every_n_layers': 2,
    'global_rope_theta': 7.0,
    'local_rope_theta': 7.0,
    'classifier_pooling': 'mean',
    'pos_att_type': ['p2c'],
    'position_buckets': 64,
    'max_relative_positions': 77,
    'norm_rel_ebd': 'layer_norm',
    'share_att_key': True,
    'conv_kernel_size': 5,
    'conv_act': 'gelu',
    'conv_groups': 2,
    'cls_dropout': 0.7,
    'attention_head_size': 77,
    'pooler_hidden_size': 77,
    'classifier_dropout_prob': 0.7,
    'num_hidden_groups': 2,
    'kernel_sizes': [5, 5, 5, 3, 5, 5, 3],
    'in_channels': [32, 16, 24, 40, 80, 112, 200],
    'out_channels': [16, 24, 40, 80, 112, 192, 400],
    'depthwise_padding': [3],
    'strides': [2, 2, 2, 2, 1, 2, 1],
    'num_block_repeats': [1, 2, 2, 3, 3, 4, 2],
    'expand_ratios': [2, 6, 6, 6, 6, 6, 6],
    'pooling_type': 'max',
    'width_coefficient': 1.2,
    'batch_norm_momentum': 0.5,
    'squeeze_expansion_ratio': 0.5,
    'drop_connect_rate': 0.6,
    'dropout_rate': 0.6,
    'use_bidirectional_attention': True,
    'rope_local_base_freq': 7.0,
    'sliding_window_pattern': 3,
}


@pytest.mark.parametrize(('given', 'read'), [({'batch_norm_momentum': 0.99}, 0.01), ({}, 0.01)])
def test_momentum_of_keras_is_read_as_pytorchs_and_said(given, read):
    config = {'model_type': 'efficientnet', **given}
    checked, notes = check_config('efficientnet', config, FILE)
    assert families.module('efficientnet').network_from_config(checked).momentum == read
    assert any(f'batch_norm_momentum=0.99 is read as {read}' in note for note in notes)
    low = {**config, 'batch_norm_momentum': 0.1}
    assert network(low).momentum == 0.1 and not check_config('efficientnet', low, FILE)[1]


def base(model_type):
    defaults = {} if model_type == TIMM else {'model_type': model_type}
    found = {k: v for k, v in known(model_type).defaults.items() if v is not None}
    return {**defaults, **found, **BASES.get(model_type, {})}


def network(config):
    family = MODEL_TYPES[config.get('model_type', TIMM)]
    checked, _ = check_config(family, config, FILE)
    return families.module(family).network_from_config(checked)


def other(name, value):
    """Another value of the field."""
    if name in OTHER:
        return OTHER[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 2 * value + 2
    if isinstance(value, float):
        return 2 * value + 0.25
    return 'tanh' if isinstance(value, str) else 3


def outcome(config):
    try:
        return network(config)
    except UserError as error:
        return str(error)


def declared(model_type):
    return families.module(MODEL_TYPES[model_type]).FIELDS[model_type]


@pytest.mark.parametrize('model_type', MODEL_TYPES)
def test_what_is_read_counts(model_type):
    config = base(model_type)
    before = network(config)
    for name in declared(model_type).reads:
        assert outcome({**config, name: other(name, config.get(name))}) != before, name


@pytest.mark.parametrize('model_type', MODEL_TYPES)
def test_what_is_not_read_does_not(model_type):
    """Nor is it refused: real files have all of these."""
    config, fields = base(model_type), declared(model_type)
    before = network(config)
    inert = {*fields.inert, *fields.noise, *fields.stand_ins, *table()['generation'], *INERT}
    for name in inert - {*fields.reads}:
        values = {other(name, config.get(name)), None} if name not in OTHER else {None}
        for value in values:
            assert outcome({**config, name: value}) == before, name


@pytest.mark.parametrize('model_type', MODEL_TYPES)
def test_all_else_is_refused_by_name(model_type):
    config, fields = base(model_type), declared(model_type)
    handled = {*fields.reads, *fields.inert, *fields.noise, *fields.stand_ins, *INERT}
    defaults = {**EVERYWHERE, **known(model_type).defaults}
    refused = set(defaults) - handled - {'id2label', 'architectures'}
    assert refused >= {'quantization_config', 'pruned_heads', 'is_encoder_decoder'}
    for name in refused:
        value = {**OTHER, 'is_causal': True}.get(name, other(name, defaults[name]))
        message = outcome({**config, name: value})
        assert isinstance(message, str), name
        assert f'{model_type} with {name}={value!r}'[:60] in message
        assert str(FILE) in message


@pytest.mark.parametrize('model_type', CLASSES)
def test_what_a_file_leaves_out_is_as_in_transformers(model_type):
    """No default that is written down by hand differs from the class's."""
    config = {'model_type': model_type}
    assert network(config) == network({**known(model_type).defaults, **config})


@pytest.mark.parametrize('model_type', MODEL_TYPES)
def test_each_field_has_one_meaning(model_type):
    fields = declared(model_type)
    groups = (fields.reads, fields.inert, fields.noise, fields.stand_ins)
    names = [name for group in groups for name in group]
    assert len(names) == len(set(names))
    assert set(fields.nested) <= set(fields.reads)
    if model_type != TIMM:
        assert set(fields.noise) | set(fields.stand_ins) <= set(known(model_type).defaults)


def test_the_committed_table_is_the_present_one(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / 'scripts' / 'parity')
    page = importlib.import_module('config_fields_table')
    path = repository / 'results' / 'parity' / 'config_fields.md'
    assert path.read_text() == page.markdown(), 'python scripts/parity/config_fields_table.py'


@pytest.mark.torch
@pytest.mark.parametrize('model_type', CLASSES)
def test_files_that_transformers_saves_are_taken_as_they_are(model_type, tmp_path):
    transformers = pytest.importorskip('transformers')
    config = transformers.AutoConfig.for_model(model_type)
    config.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / 'config.json').read_text())
    _, notes = check_config(MODEL_TYPES[model_type], saved, tmp_path / 'config.json')
    assert all('is not applied' in note for note in notes)
    assert set(saved) > {'model_type'}


@pytest.mark.torch
def test_the_written_down_classes_are_the_installed_ones(repository, monkeypatch):
    transformers = pytest.importorskip('transformers')
    if transformers.__version__ != table()['transformers']:
        pytest.skip('another version than the one that was written down')
    monkeypatch.syspath_prepend(repository / 'scripts' / 'parity')
    assert importlib.import_module('make_config_fields').classes() == table()
