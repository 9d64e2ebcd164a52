"""Refuses a config.json with a field that changes the computation and is not followed here."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.pretrained import families
from ftjax.pretrained.config_fields import (
    EVERYWHERE,
    INERT,
    READ,
    TIMM,
    Fields,
    complement,
    known,
    table,
)
from ftjax.pretrained.keymaps.hf_config import architecture

# Values with which a field of another family asks for nothing.
_NOTHING = (None, False, 0, '', [], {})


def check_config(
    family: str, config: JsonObject, where: pathlib.Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Holds every field of a config.json against what its family declares.

    Args:
      family: a registered family.
      config: as read from the file.
      where: the file, for messages.

    Returns:
      The config under the fields' own names (transformers takes other names for some), and
      notes for the load report: training noise that is not applied, fields that nobody reads.

    Raises:
      UserError: a field that the class in transformers has, or that its shared code reads, is
        neither read here nor at its default; a field of another family asks for something;
        two names of one field disagree; the class is the checkpoint's own code.
    """
    found = families.module(family)
    if not getattr(found, 'IN_TRANSFORMERS', True):
        return dict(config), ()  # its fields are the network's, which knows them all
    model_type = TIMM if 'architecture' in config else config.get('model_type', '')
    if model_type not in found.FIELDS:
        model_type = next(iter(found.FIELDS))
    return _check(model_type, found.FIELDS[model_type], config, where)


def _check(
    model_type: str, fields: Fields, config: JsonObject, where: pathlib.Path
) -> tuple[dict[str, object], tuple[str, ...]]:
    config = _under_own_names(model_type, config, where)
    _check_class(model_type, config, where)
    notes = list(_noise(model_type, fields, config))
    unread = []
    for name, value in config.items():
        if name in fields.nested and value is not None:
            inner = fields.nested[name]
            config[name], more = _check(inner, _declared()[inner], _dict(name, value, where), where)
            notes += more
        elif not _is_declared(name, fields):
            unread += _undeclared(model_type, name, value, where)
    if unread:
        notes.append('config.json: fields without effect: ' + ', '.join(unread))
    return config, tuple(notes)


def _is_declared(name: str, fields: Fields) -> bool:
    """Whether a family or all of them say what the field is to us."""
    if name in fields.reads or name in fields.inert or name in fields.nested:
        return True
    if name in fields.noise or name in fields.stand_ins:
        return True
    return name in READ or name in INERT or name in table()['generation']


def _undeclared(model_type: str, name: str, value: object, where: pathlib.Path) -> list[str]:
    """Judges a field that no family declares; [name] if nothing reads it either."""
    defaults = known(model_type).defaults
    if name in defaults or name in EVERYWHERE:
        default = defaults.get(name, EVERYWHERE.get(name))
        if value == default or (name not in defaults and value in _NOTHING):
            return []
        raise UserError(
            f'{where}: {model_type} with {name}={_short(value)} is not supported; only {default} is'
        )
    if value in _NOTHING or name == 'auto_map':
        return []
    if 'drop' in name or name.startswith('_'):
        return [] if name.startswith('_') else [name]
    if others := _readers().get(name):
        raise UserError(
            f'{where}: {name}={_short(value)} is a field of {", ".join(others[:3])} and not of '
            f'{model_type}, which would leave it out; remove it from the file if the weights '
            'were trained without it'
        )
    if name in known(model_type).code:
        raise UserError(
            f'{where}: {name}={_short(value)} is read by transformers for {model_type} and not '
            'here; remove it from the file if the weights were trained without it'
        )
    return [name]


def _under_own_names(model_type: str, config: JsonObject, where: pathlib.Path) -> dict[str, object]:
    """The config with each alias of the class replaced by the field it stands for."""
    renamed = dict(config)
    for alias, name in known(model_type).aliases.items():
        if alias not in renamed:
            continue
        value = renamed.pop(alias)
        if renamed.setdefault(name, value) != value:
            raise UserError(
                f'{where}: {name}={_short(renamed[name])} and {alias}={_short(value)} are two '
                f'names of one field of {model_type}, and differ'
            )
    return renamed


def _check_class(model_type: str, config: JsonObject, where: pathlib.Path) -> None:
    """Refuses classes that come as code with the checkpoint, whatever its model type says."""
    name, prefix = architecture(config), known(model_type).prefix
    if config.get('auto_map') and name and not name.startswith(prefix):
        raise UserError(
            f'{where}: {name} is code of the checkpoint itself (auto_map), which is never run; '
            f'{model_type} has classes that begin with {prefix}'
        )


def _noise(model_type: str, fields: Fields, config: JsonObject) -> Iterator[str]:
    """What the load report says of noise in training that is not applied as there."""
    effective = {**known(model_type).defaults, **config}
    for name, phrase in fields.noise.items():
        if effective.get(name):
            yield f'config.json: {name}={_short(effective[name])} is not applied: {phrase}'
    for name, other in fields.stand_ins.items():
        if effective.get(name) != effective.get(other):
            used, asked = (f'{each}={_short(effective.get(each))}' for each in (other, name))
            yield f'config.json: {used} is used for {asked}'
    for name, why in fields.complements.items():
        if (read := complement(effective[name])) != effective[name]:
            yield f'config.json: {name}={_short(effective[name])} is read as {read}: {why}'
    if config.get('auto_map'):
        yield f'config.json: the code that auto_map names is not run; the network is {model_type}'


@functools.cache
def _declared() -> dict[str, Fields]:
    """Every model type of every family -> its fields; timm's several are one."""
    modules = map(families.module, families.rows())
    return {k: v for found in modules for k, v in getattr(found, 'FIELDS', {}).items()}


@functools.cache
def _readers() -> dict[str, list[str]]:
    """Field that decides a computation -> the model types that have it."""
    found: dict[str, list[str]] = {}
    for model_type, fields in _declared().items():
        for name in {*fields.reads, *known(model_type).defaults}:
            if name in fields.reads or not _is_declared(name, fields):
                found.setdefault(name, []).append(model_type)
    return found


def _dict(name: str, value: object, where: pathlib.Path) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise UserError(f'{where}: {name} must be a JSON object, not {_short(value)}')
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + '...'
