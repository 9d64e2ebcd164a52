"""Networks by name: `build('vit', {'width': 192})`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ftjax.errors import UserError, check_name, shown
from ftjax.io.json.json_values import JsonObject
from ftjax.models.field_kinds import check_options
from ftjax.models.stages import Network
from ftjax.registry import find, parts, register

# Modules are imported when first built, so that a script pays only for the family it uses.
for _name, _target in {
    'vit': 'ftjax.models.vision.vit:ViT',
    'deit': 'ftjax.models.vision.deit:DeiT',
    'dinov2': 'ftjax.models.vision.dinov2:DINOv2',
    'dinov3': 'ftjax.models.vision.dinov3:DINOv3',
    'clip_vision': 'ftjax.models.vision.clip:CLIPVision',
    'siglip_vision': 'ftjax.models.vision.siglip:SigLIPVision',
    'swin': 'ftjax.models.vision.swin:Swin',
    'swinv2': 'ftjax.models.vision.swinv2:SwinV2',
    'beit': 'ftjax.models.vision.beit:BEiT',
    'convnext': 'ftjax.models.vision.convnext:ConvNeXt',
    'convnextv2': 'ftjax.models.vision.convnext:ConvNeXtV2',
    'resnet': 'ftjax.models.vision.resnet:ResNet',
    'efficientnet': 'ftjax.models.vision.efficientnet:EfficientNet',
    'resnet_gn_cifar': 'ftjax.models.vision.resnet_cifar:ResNetGroupNorm',
    'resnet_bn_cifar': 'ftjax.models.vision.resnet_cifar:ResNetBatchNorm',
    'adapted': 'ftjax.models.adapters.adapted:Adapted',
    'built': 'ftjax.models.built.network:BuiltNetwork',
    'bert': 'ftjax.models.encoders.bert:BERT',
    'roberta': 'ftjax.models.encoders.bert:RoBERTa',
    'xlm_roberta': 'ftjax.models.encoders.bert:XLMRoBERTa',
    'albert': 'ftjax.models.encoders.bert:ALBERT',
    'mpnet': 'ftjax.models.encoders.mpnet:MPNet',
    'deberta': 'ftjax.models.encoders.deberta:DeBERTa',
    'modernbert': 'ftjax.models.encoders.modernbert:ModernBERT',
    'electra': 'ftjax.models.encoders.bert:ELECTRA',
    'distilbert': 'ftjax.models.encoders.bert:DistilBERT',
    'gpt2': 'ftjax.models.decoders.gpt2:GPT2',
    'llama': 'ftjax.models.decoders.llama:Llama',
    'olmo2': 'ftjax.models.decoders.llama:OLMo2',
    'phi3': 'ftjax.models.decoders.llama:Phi3',
    'gemma': 'ftjax.models.decoders.gemma:Gemma',
    'mlp': 'ftjax.models.residual_mlp:MLP',
    'two_layer': 'ftjax.reproductions.two_layer:TwoLayer',
    'plain_convolutions': 'ftjax.reproductions.plain_convolutions:PlainConvolutions',
}.items():
    register('model', _name, target=_target)


def family(name: str) -> type[Network]:
    """The class of a family; raises UserError with the nearest name if there is none."""
    return find('model', 'built' if is_recipe(name) else name).function


def is_recipe(name: str) -> bool:
    """Whether a name is that of a registered function that builds a model with its weights."""
    part = parts('model').get(name)
    return part is not None and not isinstance(part.target, str | type)


def build(name: str, options: JsonObject | None = None) -> Network:
    """Builds a network from its family's name and its fields.

    >>> build('vit', {'depth': 2, 'width': 32, 'heads': 2}).stages
    ('embed', 'block_00', 'block_01', 'norm', 'head')
    """
    cls, options = family(name), dict(options or {})
    if is_recipe(name):
        from ftjax.models.built.network import open_built  # it brings NNX along

        return open_built(name, options).network
    known = fields_of(cls)
    for key in options:
        if key == 'dtype' and key not in known:
            raise UserError(
                f'model {name!r} has no field dtype, which says what it computes in; leave out '
                'config.precision and config.model.dtype, or give it one'
            )
        check_name(key, known, f'option of model {name!r}:')
    for key, value in options.items():
        options[key] = _tuples(value)  # linen fields must be hashable
    check_options(cls, options, f'model {name!r}')
    try:
        network = cls(**options)
    except TypeError as error:
        raise UserError(f'model {name!r}: {error}') from error
    for key in known:
        _check_plain(name, key, getattr(network, key))
    return network


def _tuples(value: Any) -> Any:
    """A value with tuples for lists, however deep."""
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def _check_plain(name: str, key: str, value: object) -> None:
    """UserError for a field that no file can hold, and no other process could build again."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        raise UserError(
            f'model {name!r}: {key} is {shown(value)}; expected a number, a text or a tuple of '
            "them, which a file can hold: write a dtype or a function by name ('float32', 'relu') "
            'and look it up where it is used'
        ) from None


def options_of(network: Network) -> tuple[str, dict[str, Any]]:
    """The inverse of build: the family's name and every field, as plain JSON-able values."""
    cls = type(network)
    where = f'{cls.__module__}:{cls.__name__}'
    name = next((n for n, p in parts('model').items() if p.target in (cls, where)), None)
    if name is None:
        raise UserError(
            f"{cls.__name__} is no registered model: put @register('model', NAME) before it"
        )
    options = {key: getattr(network, key) for key in fields_of(type(network))}
    for key, value in options.items():
        _check_plain(name, key, value)
    return name, {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}


def fields_of(cls: type[Network]) -> list[str]:
    """Names of a family's own fields, without linen's `parent` and `name`."""
    return [f.name for f in dataclasses.fields(cls) if f.name not in ('parent', 'name')]
