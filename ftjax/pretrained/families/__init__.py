"""Which module knows a checkpoint: a table from config.json (or tensor names) to families.

A family's module exposes

    KEY_MAP: KeyMap, or key_map(config: dict) -> KeyMap | tuple[KeyMap, ...]
        several maps when files of the family come under several naming schemes
        (transformers, timm, torchvision ..): the one that explains most tensors is taken.
    network_from_config(config: dict, **overrides) -> Network
        overrides are fields of the network, as num_classes or image_size.
    config_from_network(network, labels: Sequence[str]) -> dict
        the inverse: the fields of a config.json that transformers opens, 'model_type' and
        'architectures' included. labels are class names, () when unknown.

    FIELDS: dict[str, Fields]
        model type -> which fields of its config.json are read, and which change nothing; any
        other that differs from its default in transformers is refused (config_fields.py).

and may expose

    config_from_tensors(source: TensorSource) -> dict
        for files that come without a config.json: what `network_from_config` needs, read off
        names and shapes alone.
    preprocessing(config: dict) -> Preprocessing
        what to assume where no preprocessor_config.json is beside the weights.
    class_names(config: dict) -> tuple[str, ...]
        where config.json has no id2label.
    processor_fields(network) -> dict
        what transformers' image processor must know beyond the usual fields.
    IMAGE_PROCESSOR: str
        the class of transformers in preprocessor_config.json, if not ViT's.
    IN_TRANSFORMERS = False
        where transformers has no such network: it is not exported, and has no FIELDS.

Modules are imported when first needed. Adding one is a file here and a row below, then
scripts/parity/make_config_fields.py and scripts/parity/config_fields_table.py.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from ftjax.errors import UserError, did_you_mean, shown
from ftjax.io.json.json_values import JsonObject
from ftjax.models.registry import options_of
from ftjax.models.stages import Network
from ftjax.pretrained.keymaps.flax_names import flax_names
from ftjax.pretrained.keymaps.keymap import KeyMap
from ftjax.pretrained.relatives import relatives
from ftjax.registry import parts, register


@dataclasses.dataclass(frozen=True)
class Row:
    """How to recognise one family."""

    models: tuple[str, ...] = ()
    """Names of registered models that this module writes configs for."""
    model_types: tuple[str, ...] = ()
    """Values of config.json's "model_type"."""
    architectures: tuple[str, ...] = ()
    """Regular expressions (full match) of config.json's "architecture" (timm) or of an entry of
    "architectures"; they win over model_type, for a type that several families share."""
    tensors: tuple[str, ...] = ()
    """Regular expressions (full match), each of which some tensor's name must match, that
    recognise a file without config.json."""


# The key is the module's name in this folder.
for _name, _row in {
    'deit': Row(
        models=('deit',),
        model_types=('deit',),
        architectures=(r'deit_(tiny|small|base)_distilled_patch\d+_\d+(\..*)?',),
        tensors=(r'dist_token', r'blocks\.0\.attn\.qkv\.weight'),
    ),
    'vit': Row(
        models=('vit',),
        model_types=('vit',),
        architectures=(r'vit_(tiny|small|base|large|huge)_patch\d+_\d+(\..*)?',),
        # timm, torchvision, AugReg; after DeiT, whose names in timm are these and more.
        tensors=(
            r'patch_embed\.proj\.weight|conv_proj\.weight|embedding/kernel',
            r'blocks\.0\.attn\.qkv\.weight|encoder\.layers\.encoder_layer_0\.ln_1\.weight'
            r'|Transformer/encoderblock_0/LayerNorm_0/scale',
            r'cls_token|class_token|cls',
        ),
    ),
    'dinov2': Row(models=('dinov2',), model_types=('dinov2', 'dinov2_with_registers')),
    'clip': Row(models=('clip_vision',), model_types=('clip', 'clip_vision_model')),
    'dinov3': Row(
        models=('dinov3',),
        model_types=('dinov3_vit',),
        architectures=(
            r'vit_(small|small_plus|base|large|huge_plus)_patch16_dinov3(_qkvb)?(\..*)?',
        ),
    ),
    'dinov3_convnext': Row(model_types=('dinov3_convnext',)),
    'siglip': Row(models=('siglip_vision',), model_types=('siglip', 'siglip_vision_model')),
    'siglip2': Row(model_types=('siglip2', 'siglip2_vision_model')),
    'vit_mae': Row(model_types=('vit_mae',)),
    'beit': Row(
        models=('beit',),
        model_types=('beit',),
        architectures=(r'beit_(base|large)_patch\d+_\d+(\..*)?',),
    ),
    'swin': Row(models=('swin',), model_types=('swin',)),
    'swinv2': Row(
        models=('swinv2',),
        model_types=('swinv2',),
        architectures=(r'swinv2_(tiny|small|base|large)_window\d+(to\d+)?_\d+(to\d+)?(\..*)?',),
    ),
    'convnextv2': Row(
        models=('convnextv2',),
        model_types=('convnextv2',),
        architectures=(r'convnextv2_(atto|femto|pico|nano|tiny|small|base|large|huge)(\..*)?',),
    ),
    'convnext': Row(
        models=('convnext',),
        model_types=('convnext',),
        architectures=(r'convnext_(tiny|small|base|large|xlarge)(\..*)?',),
        tensors=(
            r'stages\.0\.blocks\.0\.conv_dw\.weight|features\.1\.0\.block\.5\.weight',
            r'stem\.0\.weight|features\.0\.0\.weight',
        ),
    ),
    'resnet': Row(
        models=('resnet',),
        model_types=('resnet',),
        architectures=(r'resnet(18|34|50|101|152)(\..*)?',),
        tensors=(
            r'(module\.)?layer1\.0\.bn2\.running_mean',
            r'(module\.)?layer2\.0\.downsample\.1\.weight',
        ),
    ),
    'efficientnet': Row(
        models=('efficientnet',),
        model_types=('efficientnet',),
        architectures=(r'tf_efficientnet_b[0-8](\..*)?',),
    ),
    'resnet_cifar': Row(
        models=('resnet_gn_cifar', 'resnet_bn_cifar'),
        model_types=('resnet_gn_cifar', 'resnet_bn_cifar'),
        tensors=(r'(module\.)?layer3\.0\.conv2\.weight', r'(module\.)?(linear|bn)\.bias'),
    ),
    # Without the prefix RoBERTa's names are BERT's.
    'bert': Row(
        models=('bert',),
        model_types=('bert',),
        tensors=(r'(bert\.)?encoder\.layer\.0\.attention\.self\.query\.weight',),
    ),
    'roberta': Row(
        models=('roberta',),
        model_types=('roberta', 'camembert'),
        tensors=(r'roberta\.encoder\.layer\.0\.attention\.self\.query\.weight',),
    ),
    'xlm_roberta': Row(models=('xlm_roberta',), model_types=('xlm-roberta',)),
    'mpnet': Row(
        models=('mpnet',),
        model_types=('mpnet',),
        tensors=(r'(mpnet\.)?encoder\.relative_attention_bias\.weight',),
    ),
    'albert': Row(
        models=('albert',),
        model_types=('albert',),
        tensors=(r'(albert\.)?encoder\.embedding_hidden_mapping_in\.weight',),
    ),
    'deberta': Row(
        models=('deberta',),
        model_types=('deberta-v2',),
        tensors=(r'(deberta\.)?encoder\.layer\.0\.attention\.self\.query_proj\.weight',),
    ),
    'modernbert': Row(
        models=('modernbert',),
        model_types=('modernbert',),
        tensors=(r'(model\.)?layers\.0\.attn\.Wqkv\.weight',),
    ),
    'electra': Row(
        models=('electra',),
        model_types=('electra',),
        tensors=(r'electra\.encoder\.layer\.0\.attention\.self\.query\.weight',),
    ),
    'distilbert': Row(
        models=('distilbert',),
        model_types=('distilbert',),
        tensors=(r'(distilbert\.)?transformer\.layer\.0\.attention\.q_lin\.weight',),
    ),
    'gpt2': Row(
        models=('gpt2',),
        model_types=('gpt2',),
        tensors=(r'(transformer\.)?h\.0\.attn\.c_attn\.weight',),
    ),
    'olmo2': Row(
        models=('olmo2',),
        model_types=('olmo2',),
        tensors=(
            r'(model\.)?layers\.0\.post_feedforward_layernorm\.weight',
            r'(model\.)?layers\.0\.self_attn\.q_norm\.weight',
        ),
    ),
    'phi3': Row(
        models=('phi3',),
        model_types=('phi3',),
        tensors=(r'(model\.)?layers\.0\.self_attn\.qkv_proj\.weight',),
    ),
    'gemma': Row(
        models=('gemma',),
        model_types=('gemma', 'gemma2', 'gemma3_text'),
        tensors=(r'(model\.)?layers\.0\.pre_feedforward_layernorm\.weight',),
    ),
    'llama': Row(
        models=('llama',),
        model_types=('llama', 'mistral', 'qwen2', 'qwen3'),
        tensors=(
            r'(model\.)?layers\.0\.self_attn\.q_proj\.weight',
            r'(model\.)?layers\.0\.mlp\.gate_proj\.weight',
        ),
    ),
}.items():
    register('family', _name, target=f'{__name__}.{_name}', details=_row)


def rows() -> dict[str, Row]:
    """How to recognise each family, in the order in which they are tried."""
    return {name: part.details for name, part in parts('family').items()}


def module(family: str) -> Any:
    """What is registered as a family: its module, or a class of the same attributes."""
    return parts('family')[family].function


def family_of_config(config: JsonObject) -> str | None:
    """The family of a config.json; None if it names neither a model type nor an architecture.

    Raises:
      UserError: it names one that no row lists.
    """
    names = [config['architecture']] if config.get('architecture') else []
    names += config.get('architectures') or []
    for family, row in rows().items():
        if any(re.fullmatch(pattern, name) for pattern in row.architectures for name in names):
            return family
    wanted = config.get('model_type')
    for family, row in rows().items():
        if wanted in row.model_types:
            return family
    if wanted is None and not names:
        return None
    known = [name for row in rows().values() for name in row.model_types]
    wanted = wanted or next(iter(names), '')
    raise UserError(
        f'config.json: no family for model type {shown(wanted)}; {relatives(wanted, known)}'
    )


def family_of_tensors(names: Iterable[str]) -> str | None:
    """The family that recognises these tensor names; None if none does."""
    names = list(names)
    for family, row in rows().items():
        found = (any(re.fullmatch(pattern, name) for name in names) for pattern in row.tensors)
        if row.tensors and all(found):
            return family
    return None


def family_of_network(network: Network) -> str:
    """The first family that writes configs for this network's class; UserError if none does."""
    return family_of_model(options_of(network)[0])


def family_of_model(name: str) -> str:
    """The first family whose row lists this model of the registry; UserError if none does."""
    for family, row in rows().items():
        if name in row.models:
            return family
    known = [model for row in rows().values() for model in row.models]
    raise UserError(f'no key map for model {name!r}; {did_you_mean(name, known)}')


def key_map(family: str, config: JsonObject, names: Iterable[str]) -> KeyMap:
    """The family's key map; of several, the one that explains most of `names`.

    The names of transformers' former Flax models follow from each map and are tried too.
    """
    found = module(family)
    maps = found.key_map(config) if hasattr(found, 'key_map') else found.KEY_MAP
    maps = (maps,) if isinstance(maps, KeyMap) else maps
    names = list(names)
    if any('/' in name for name in names):
        maps += tuple(flax_names(each) for each in maps)
    return max(maps, key=lambda each: sum(each.match(name) is not None for name in names))
