"""Networks by name: `build('vit', {'width': 192})`."""

from __future__ import annotations

import dataclasses
from typing import Any

from ftjax.errors import UserError, check_name
from ftjax.io.json.json_values import JsonObject
from ftjax.models.field_kinds import check_options
from ftjax.models.stages import Network
from ftjax.registry import find, parts, register

# Modules are imported when first built, so that a script pays only for the family it uses.
for _name, _target in {
    'vit': 'ftjax.models.vit:ViT',
    'deit': 'ftjax.models.deit:DeiT',
    'dinov2': 'ftjax.models.dinov2:DINOv2',
    'dinov3': 'ftjax.models.dinov3:DINOv3',
    'clip_vision': 'ftjax.models.clip:CLIPVision',
    'siglip_vision': 'ftjax.models.siglip:SigLIPVision',
    'swin': 'ftjax.models.swin:Swin',
    'swinv2': 'ftjax.models.swinv2:SwinV2',
    'beit': 'ftjax.models.beit:BEiT',
    'convnext': 'ftjax.models.convnext:ConvNeXt',
    'convnextv2': 'ftjax.models.convnext:ConvNeXtV2',
    'resnet': 'ftjax.models.resnet:ResNet',
    'efficientnet': 'ftjax.models.efficientnet:EfficientNet',
    'resnet_gn_cifar': 'ftjax.models.resnet_cifar:ResNetGroupNorm',
    'resnet_bn_cifar': 'ftjax.models.resnet_cifar:ResNetBatchNorm',
    'adapted': 'ftjax.models.adapters.adapted:Adapted',
    'built': 'ftjax.models.built.network:BuiltNetwork',
    'bert': 'ftjax.models.bert:BERT',
    'roberta': 'ftjax.models.bert:RoBERTa',
    'xlm_roberta': 'ftjax.models.bert:XLMRoBERTa',
    'albert': 'ftjax.models.bert:ALBERT',
    'mpnet': 'ftjax.models.mpnet:MPNet',
    'deberta': 'ftjax.models.deberta:DeBERTa',
    'modernbert': 'ftjax.models.modernbert:ModernBERT',
    'electra': 'ftjax.models.bert:ELECTRA',
    'distilbert': 'ftjax.models.bert:DistilBERT',
    'gpt2': 'ftjax.models.gpt2:GPT2',
    'llama': 'ftjax.models.llama:Llama',
    'olmo2': 'ftjax.models.llama:OLMo2',
    'phi3': 'ftjax.models.llama:Phi3',
    'gemma': 'ftjax.models.gemma:Gemma',
    'mlp': 'ftjax.models.residual_mlp:MLP',
    'two_layer': 'ftjax.reproductions.two_layer:TwoLayer',
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
        if isinstance(value, list):
            options[key] = tuple(value)  # linen fields must be hashable
    check_options(cls, options, f'model {name!r}')
    try:
        return cls(**options)
    except TypeError as error:
        raise UserError(f'model {name!r}: {error}') from error


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
    return name, {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}


def fields_of(cls: type[Network]) -> list[str]:
    """Names of a family's own fields, without linen's `parent` and `name`."""
    return [f.name for f in dataclasses.fields(cls) if f.name not in ('parent', 'name')]
