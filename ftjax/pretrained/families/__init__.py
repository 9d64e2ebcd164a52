"""Which module knows a checkpoint: from config.json (or tensor names) to families.

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
    OWN_PROCESSOR: str
        the class that reads a preprocessor_config.json without a class, if not IMAGE_PROCESSOR.
    IN_TRANSFORMERS = False
        where transformers has no such network: it is not exported, and has no FIELDS.

Modules are imported when first needed. Adding one is a file in a room here and a row in that
room's `__init__.py`, then scripts/parity/make_config_fields.py and
scripts/parity/config_fields_table.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ftjax.errors import UserError, did_you_mean, shown
from ftjax.io.json.json_values import JsonObject
from ftjax.models.registry import options_of
from ftjax.models.stages import Network
from ftjax.pretrained.families import decoders, encoders, vision
from ftjax.pretrained.families.row import Row
from ftjax.pretrained.keymaps.flax_names import flax_names
from ftjax.pretrained.keymaps.keymap import KeyMap
from ftjax.pretrained.relatives import relatives
from ftjax.registry import parts, register

for _room in (vision, encoders, decoders):
    for _name, _row in _room.ROWS.items():
        register('family', _name, target=f'{_room.__name__}.{_name}', details=_row)


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
