"""Odd configurations drawn from the fields of transformers' classes: equal, or refused."""

import json
import pathlib

import numpy as np
import pytest
from parity_engine import quick_jit

from ftjax.errors import UserError
from ftjax.pretrained import families
from ftjax.pretrained.config_check import check_config
from ftjax.pretrained.config_fields import INERT, TIMM, known, table
from ftjax.pretrained.config_values import check_values
from ftjax.pretrained.open import load_pretrained

FILE = pathlib.Path('config.json')
QUICK, ALL = 12, 200
"""Draws of a model type."""
NEAR = 1e-4
"""Of the largest output."""
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
}  # fmt: skip
BASES = {
    'resnet': {'embedding_size': 8},
    'swin': {'patch_size': 4},
    'dinov3_vit': {'num_attention_heads': 3},
    'efficientnet': {'hidden_dim': 2560},
    'dinov2': {'mlp_ratio': 2},
    'convnext': {'patch_size': 4},
    'roberta': {'max_position_embeddings': 40},
    'xlm-roberta': {'max_position_embeddings': 40},
    'camembert': {'max_position_embeddings': 40},
}
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
}  # fmt: skip


def drawn(model_type, number):
    """The config.json of a draw and the fields that it changed; number 0 changes nothing."""
    random = np.random.default_rng([number, *model_type.encode()])
    defaults = known(model_type).defaults
    own = {k: v for k, v in {**SIZES, **BASES.get(model_type, {})}.items() if k in defaults}
    skipped = {*INERT, *table()['generation'], 'id2label', 'architectures', 'num_labels'}
    names = sorted(set(defaults) - skipped | {'is_causal', 'pad_token_id'} & set(defaults))
    count = 0 if not number else min(1 + int(random.integers(3)), len(names))
    changes = {}
    for name in random.choice(names, count, replace=False):
        changes[str(name)] = odd(str(name), defaults[name], random)
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


def odd(name, default, random):
    """Another value of a field than its default."""
    if name in ODD:
        return ODD[name][random.integers(len(ODD[name]))]
    if name in ('hidden_act', 'activation', 'activation_function', 'hidden_activation'):
        return ACTIVATIONS[random.integers(len(ACTIVATIONS))]
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + int(random.integers(1, 4))
    if isinstance(default, float):
        return float(random.choice([0.0, 0.25, 1.5 * default]))
    return random.choice(['x', None]) if isinstance(default, str) else None


@pytest.mark.parametrize('model_type', MODEL_TYPES)
def test_a_draw_is_a_network_or_a_refusal(model_type):
    refused = [refusal(drawn(model_type, number)[0]) for number in range(QUICK)]
    assert refused[0] is None, refused[0]
    assert sum(text is not None for text in refused) < QUICK - 1


def refusal(config):
    """Why a configuration is refused; None for one that is a network with a head."""
    family = MODEL_TYPES[config['model_type']]
    try:
        check_values(config, FILE)
        checked, _ = check_config(family, config, FILE)
        network = families.module(family).network_from_config(checked, num_classes=3)
    except UserError as error:
        return str(error)
    assert network.stages[-1] == 'head'
    return None


def torch_model(config):
    """A model of transformers with random weights, or None where there can be none."""
    import torch
    import transformers

    torch.manual_seed(0)
    torch.backends.mkldnn.enabled = False
    kind = 'Image' if 'image_size' in json.dumps(config) else 'Sequence'
    kind = 'Image' if config['model_type'] in ('resnet', 'convnext', 'convnextv2') else kind
    model = None
    for auto in (f'AutoModelFor{kind}Classification', 'AutoModel'):  # some have no classifier
        try:
            made = transformers.AutoConfig.for_model(**config, num_labels=3)
            cls = getattr(transformers, auto)
            model = cls.from_config(made, attn_implementation='eager').eval()
            break
        except Exception:  # whatever it raises for sizes that do not go together
            continue
    if model is None:
        return None
    with torch.no_grad():
        for name, leaf in model.named_parameters():
            if leaf.ndim < 2 or 'lambda' in name or 'layer_scale' in name:
                leaf.add_(0.3 * torch.randn_like(leaf))
            else:
                leaf.copy_(0.3 * torch.randn_like(leaf))
    return model


def compared(model, folder, config):
    """(our outputs, theirs) for the same inputs; a UserError is a refusal."""
    import torch

    model.save_pretrained(folder)
    random = np.random.default_rng(1)
    found = load_pretrained(str(folder))
    if found.network.takes == 'images':
        height, width, channels = found.network.example_input(1).shape[1:]
        images = random.normal(size=(2, height, width, channels)).astype(np.float32)
        inputs, given = images, {'pixel_values': torch.from_numpy(images).permute(0, 3, 1, 2)}
    else:
        ids = random.integers(6, 50, (2, 9))
        mask = np.ones_like(ids)
        pad = config.get('pad_token_id', known(config['model_type']).defaults.get('pad_token_id'))
        if isinstance(pad, int) and 0 <= pad < 50:
            mask[1, 6:], ids[1, 6:] = 0, pad
        inputs = {'input_ids': ids.astype(np.int32), 'attention_mask': mask.astype(np.int32)}
        given = {'input_ids': torch.from_numpy(ids), 'attention_mask': torch.from_numpy(mask)}
        if 'pad_token_id' in config or not isinstance(pad, int):
            inputs = {name: rows[:1] for name, rows in inputs.items()}
            given = {name: rows[:1] for name, rows in given.items()}
    with torch.no_grad():
        theirs = model(**given)
    ours = quick_jit(found.network.apply)(found.variables, inputs)
    ours = np.asarray(ours['hidden'] if isinstance(ours, dict) else ours)
    if hasattr(theirs, 'logits'):
        expected = theirs.logits
    elif ours.ndim > 2:
        expected = theirs.last_hidden_state
    else:  # of DeiT the pooler has a layer that is left over here
        expected = theirs.pooler_output
        expected = theirs.last_hidden_state[:, 0] if found.family == 'deit' else expected
    return ours, expected.detach().numpy()


NOT_DRAWN = {'siglip2': 'it takes patches', 'vit_mae': 'transformers masks it at random'}


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize('model_type', [name for name in MODEL_TYPES if name not in NOT_DRAWN])
def test_a_draw_gives_the_outputs_of_transformers_or_is_refused(model_type, tmp_path):
    pytest.importorskip('transformers')
    wrong, equal = [], 0
    for number in range(ALL):
        outcome = judged(model_type, number, tmp_path / str(number))
        equal += outcome == 'equal'
        if outcome not in ('equal', 'refused', 'no model'):
            wrong.append((number, drawn(model_type, number)[0], outcome))
    assert not wrong, wrong[:3]
    assert equal > 0.05 * ALL


def judged(model_type, number, folder):
    """'equal', 'refused', 'no model', or how far the outputs are apart."""
    config, _ = drawn(model_type, number)
    if refusal(config) is not None:
        return 'refused'
    model = torch_model(config)
    if model is None:
        return 'no model'
    try:
        ours, theirs = compared(model, folder, config)
    except UserError as error:
        return 'refused' if number else f'refused: {error}'
    except (RuntimeError, ValueError, IndexError) as error:
        return 'no model' if 'torch' in str(type(error).__module__) + repr(error) else repr(error)
    far = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-3))
    return 'equal' if far <= NEAR else far
