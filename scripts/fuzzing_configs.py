"""Configurations, preprocessors and tokenizers: a valid one of each, and what reads it."""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

import numpy as np

from ftjax.leaves import unflatten
from ftjax.models.adapters.adapted import adapted
from ftjax.models.adapters.lora import LoRA
from ftjax.models.registry import build
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained import families, own_format
from ftjax.pretrained.initialise import leaf_shapes
from ftjax.pretrained.locate.locate import SHIPPED, Location
from ftjax.pretrained.open import describe

_VIT = {'image_size': 8, 'patch_size': 4, 'width': 4, 'depth': 1, 'heads': 2, 'num_classes': 3}
_BERT = {'vocab_size': 9, 'width': 4, 'depth': 1, 'heads': 2, 'mlp_dim': 8, 'num_classes': 3}
_LLAMA = {'vocab_size': 9, 'width': 8, 'depth': 1, 'heads': 2, 'mlp_dim': 8, 'num_classes': 3}
_CONV = {'depths': (1, 1), 'widths': (4, 8), 'num_classes': 3}
SMALL: dict[str, dict[str, Any]] = {
    'vit': _VIT,
    'deit': _VIT,
    'dinov2': _VIT,
    'clip_vision': {**_VIT, 'pool': 'mean'},
    'siglip_vision': {**_VIT, 'pool': 'mean'},
    'swin': {
        'image_size': 16,
        'patch_size': 4,
        'width': 4,
        'depths': (1, 1),
        'heads': (1, 2),
        'window': 2,
        'num_classes': 3,
    },
    'convnext': _CONV,
    'resnet': _CONV,
    'resnet_gn_cifar': {'depth': 8},
    'bert': _BERT,
    'roberta': _BERT,
    'electra': _BERT,
    'distilbert': _BERT,
    'gpt2': {key: value for key, value in _BERT.items() if key != 'mlp_dim'},
    'llama': _LLAMA,
    'xlm_roberta': _BERT,
    'albert': {**_BERT, 'embedding_size': 2},
    'mpnet': _BERT,
    'deberta': {**_BERT, 'buckets': 4},
    'modernbert': _BERT,
    'dinov3': {**_VIT, 'width': 8, 'num_classes': 0},
    'beit': _VIT,
    'swinv2': {
        'image_size': 16,
        'patch_size': 4,
        'width': 4,
        'depths': (1, 1),
        'heads': (1, 2),
        'window': 2,
        'num_classes': 3,
    },
    'convnextv2': _CONV,
    'efficientnet': {
        'repeats': (1, 1),
        'entries': (32, 16),
        'widths': (16, 24),
        'kernels': (3, 3),
        'strides': (1, 2),
        'expansions': (1, 2),
        'width_factor': 0.25,
        'num_classes': 3,
    },
    'olmo2': _LLAMA,
    'phi3': _LLAMA,
    'gemma': _LLAMA,
}
TIMM = {
    'architecture': 'vit_tiny_patch16_224',
    'num_classes': 3,
    'global_pool': 'token',
    'model_args': {'depth': 1, 'init_values': 1e-5, 'img_size': [32, 32]},
    'pretrained_cfg': {
        'input_size': [3, 32, 32],
        'mean': [0.5] * 3,
        'std': [0.5] * 3,
        'interpolation': 'bicubic',
        'crop_pct': 0.9,
    },
}
PROCESSOR = {
    'do_resize': True,
    'size': {'height': 8, 'width': 8},
    'resample': 2,
    'do_center_crop': True,
    'crop_size': {'height': 8, 'width': 8},
    'crop_pct': 0.9,
    'do_rescale': True,
    'rescale_factor': 1 / 255,
    'do_normalize': True,
    'image_mean': [0.5] * 3,
    'image_std': [0.5] * 3,
}


def foreign_configs() -> list[dict[str, Any]]:
    """A small config.json of each family in transformers' form, and one of timm's."""
    found = []
    for name, options in SMALL.items():
        module = families.module(families.family_of_model(name))
        labels = () if name in ('resnet_gn_cifar', 'dinov3') else ('a', 'b', 'c')
        found.append(module.config_from_network(build(name, options), labels))
    whole = next(config for config in found if config['model_type'] == 'clip')
    rope = {'rope_type': 'linear', 'factor': 2.0, 'rope_theta': 10000.0}
    llama = next(config for config in found if config['model_type'] == 'llama')
    return [*found, {**whole}, {**llama, 'rope_scaling': rope, 'rope_parameters': rope}, TIMM]


def own_configs() -> list[dict[str, Any]]:
    """config.json of our own format: images, texts, adapters."""
    pixels = Preprocessing(image_size=(8, 8))
    plain, texts = build('vit', _VIT), build('bert', _BERT)
    made = [
        own_format.description(pathlib.Path(), network, preprocessing, names, {'seed': 1})
        for network, preprocessing, names in (
            (plain, pixels, ('a', 'b', 'c')),
            (adapted(plain, [LoRA(rank=2)]), pixels, ()),
            (texts, None, ()),
        )
    ]
    shipped = json.loads((SHIPPED / 'docstrings' / 'config.json').read_text())
    return [*made, {**made[2], 'preprocessing': shipped['preprocessing']}]


def look_at(folder: pathlib.Path) -> None:
    """All that is learned of a checkpoint from its configuration."""
    found = describe(Location(folder), tensors=False)
    network = found.network()
    assert found.promises_head in (True, False)
    assert all(isinstance(name, str) for name in found.class_names)
    found.key_map(network)
    found.preprocessing(network)


def read_config(folder: pathlib.Path, text: str) -> None:
    """config.json in a folder of its own_format, without weights."""
    place = folder / 'config'
    place.mkdir(exist_ok=True)
    (place / 'config.json').write_text(text)
    look_at(place)


def read_processor(folder: pathlib.Path, text: str) -> None:
    """preprocessor_config.json beside a ViT's config.json."""
    place = folder / 'processor'
    if not place.exists():
        place.mkdir()
        config = families.module('vit').config_from_network(build('vit', _VIT), ())
        (place / 'config.json').write_text(json.dumps(config))
    (place / 'preprocessor_config.json').write_text(text)
    look_at(place)


def read_whole(folder: pathlib.Path, text: str) -> None:
    """Our own checkpoint, its weights included."""
    from ftjax.pretrained.open import load_pretrained

    place = folder / 'whole'
    network = build('vit', _VIT)
    if not place.exists():
        shapes = leaf_shapes(network).items()
        zeros = {key: np.zeros(leaf.shape, leaf.dtype) for key, leaf in shapes}
        pixels = Preprocessing(image_size=(8, 8))
        own_format.save_own(place, network, unflatten(zeros), pixels, ('a', 'b', 'c'))
    (place / 'config.json').write_text(text)
    load_pretrained(str(place))


def read_tokenizer_config(folder: pathlib.Path, text: str) -> None:
    """tokenizer_config.json, beside a vocab.txt."""
    from ftjax.preprocessing.texts import text_preprocessing

    place = folder / 'tokenizer'
    if not place.exists():
        place.mkdir()
        (place / 'vocab.txt').write_text('\n'.join(('[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a')))
    (place / 'tokenizer_config.json').write_text(text)
    text_preprocessing(build('bert', _BERT), place)


@functools.cache
def tokenizers() -> tuple[dict[str, Any], ...]:
    """Small tokenizer.json files of several kinds."""
    words = {'[UNK]': 0, '[CLS]': 1, '[SEP]': 2, 'a': 3, 'b': 4, 'ab': 5}
    special = {'id': '[CLS]', 'ids': [1], 'tokens': ['[CLS]']}
    parts = [
        {'SpecialToken': {'id': '[CLS]', 'type_id': 0}},
        {'Sequence': {'id': 'A', 'type_id': 0}},
    ]
    base = {
        'version': '1.0',
        'added_tokens': [
            {
                'id': 1,
                'content': '[CLS]',
                'single_word': False,
                'lstrip': False,
                'rstrip': False,
                'normalized': False,
                'special': True,
            }
        ],
        'normalizer': {'type': 'Replace', 'pattern': {'Regex': 'x+'}, 'content': 'a'},
        'pre_tokenizer': {
            'type': 'Split',
            'pattern': {'Regex': r'\w+'},
            'behavior': 'Isolated',
            'invert': False,
        },
        'post_processor': {
            'type': 'TemplateProcessing',
            'single': parts,
            'special_tokens': {'[CLS]': special},
            'pair': [*parts, {'Sequence': {'id': 'B', 'type_id': 1}}],
        },
    }
    word = {'type': 'WordLevel', 'vocab': words, 'unk_token': '[UNK]'}
    bpe = {'type': 'BPE', 'vocab': words, 'merges': [['a', 'b']], 'unk_token': '[UNK]'}
    unigram = {'type': 'Unigram', 'unk_id': 0, 'vocab': [['<unk>', 0.0], ['a', -1.0], ['b', -2.0]]}
    return tuple({**base, 'model': model} for model in (word, bpe, unigram))


def read_tokenizer(folder: pathlib.Path, text: str) -> None:
    """tokenizer.json, opened and used."""
    from ftjax.preprocessing.tokenizer import open_tokenizer

    file = folder / 'tokenizer.json'
    file.write_bytes(text.encode(errors='surrogatepass'))
    open_tokenizer(file).encode_batch_fast(['a b ab', ('a', 'b')])
