"""What the command line may change of a config beyond what ml_collections can.

`--config.train.patience=None` for keys that may be None, `--config.freeze.frozen_dtype=bfloat16`
whether `config.freeze` is a text or a mapping so far, `--config.model.dropout=0.1` whether
`config.model` has that field so far or not.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from ftjax.config import SECTIONS, Config
from ftjax.data.settings import DataSettings
from ftjax.distributed.mesh_settings import AXES
from ftjax.errors import UserError, check_name, shown
from ftjax.field_types import Expected, expected_of, fits
from ftjax.freezing.settings import FreezeSettings

WORD = re.compile(r'--?config\.([\w.]+)=(.*)', re.DOTALL)
NONES = ('None', 'none')
NOTHING = Expected(())


def optional_keys() -> set[str]:
    """Dotted keys that may be None, of those that every config has."""
    found = {f'mesh.{name}' for name in AXES}
    for section, cls in SECTIONS.items():
        known = expected_of(cls)
        found |= {f'{section}.{key}' for key in known if type(None) in known[key].kinds}
    return found


def empty_keys() -> dict[str, str]:
    """What stands for nothing, by dotted key, in keys of texts that may say nothing: '' or 'none'.

    >>> empty_keys()['data.sampler'], empty_keys()['data.augment'], empty_keys()['init']
    ('', 'none', '')
    """
    found = {'init': ''}  # random weights
    for section, cls in SECTIONS.items():
        for field in dataclasses.fields(cls):
            if field.default in ('', 'none'):
                found[f'{section}.{field.name}'] = field.default
    return found


def expected_at(key: str) -> str:
    """What a key of a config takes, in words; empty for one that not every config has."""
    section, _, name = key.rpartition('.')
    cls = SECTIONS.get(section) if section else Config
    known = expected_of(cls) if cls is not None else {}
    return known[name].text(None) if name in known else ''


def taken(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, object]]]:
    """The arguments without the overrides that are made here, and those, (key, value) each.

    >>> taken(['train.py', '--config.train.patience=None', '--config.freeze.rewarm=3'])
    (['train.py'], [('train.patience', None), ('freeze.rewarm', 3)])

    Raises:
      UserError: an unknown key of `freeze`, or a value that it does not take.
    """
    rest, found, optional, empty = [], [], optional_keys(), empty_keys()
    for word in argv:
        match = WORD.fullmatch(word)
        if match and match[1] in optional and match[2] in NONES:
            found.append((match[1], None))
        elif match and match[1] in empty and match[2] in NONES:
            rest.append(f'--config.{match[1]}={empty[match[1]]}')
        elif match and match[1].startswith('freeze.'):
            found.append((match[1], freeze_value(match[1].removeprefix('freeze.'), match[2])))
        elif match and match[1].startswith('model.'):
            found.append((match[1], literal(match[2])))
        else:
            rest.append(word)
    return rest, found


def freeze_value(name: str, text: str) -> object:
    """The value of a field of `freeze` from its text."""
    return value_of(FreezeSettings, 'config.freeze', name, text)


def data_values(words: Sequence[str]) -> dict[str, list[object]]:
    """Values of fields of `config.data` from `KEY=VALUE` each, by key.

    >>> data_values(['source=npz:a.npz', 'source=npz:b.npz', 'channels=1', 'class_names=no,yes'])
    {'source': ['npz:a.npz', 'npz:b.npz'], 'channels': [1], 'class_names': [('no', 'yes')]}
    """
    found: dict[str, list[object]] = {}
    for word in words:
        name, equals, text = word.partition('=')
        if not equals:
            raise UserError(f'--data={shown(word)}; expected --data.KEY=VALUE')
        if tuple in expected_of(DataSettings).get(name, NOTHING).kinds and text[:1] not in '([':
            found.setdefault(name, []).append(tuple(filter(None, text.split(','))))
            continue
        found.setdefault(name, []).append(value_of(DataSettings, 'data', name, text))
    return found


def value_of(cls: type, where: str, name: str, text: str) -> Any:
    """The value of a field of some settings from its text."""
    known = expected_of(cls)
    check_name(name, known, f'key of {where}:')
    wanted = known[name]
    if type(None) in wanted.kinds and text in NONES:
        return None
    value: object = text
    if str not in wanted.kinds or text[:1] in ('(', '[', '{'):
        value = literal(text)
    if not any(fits(value, kind) for kind in wanted.kinds):
        raise UserError(f'--{where}.{name} is {shown(text)}; expected {wanted.text(value)}')
    return value


def literal(text: str) -> object:
    """A value in Python's words; what is none is a text.

    >>> literal('3'), literal('true'), literal('(8, 8)'), literal('bfloat16')
    (3, True, (8, 8), 'bfloat16')
    """
    try:
        return ast.literal_eval(text.capitalize() if text in ('true', 'false') else text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def make(config: Any, changes: Sequence[tuple[str, object]]) -> None:
    """Sets the keys of a ConfigDict.

    Raises:
      UserError: the config has no such section.
    """
    for key, value in changes:
        section, name = key.split('.')
        check_name(section, list(config), 'config key')
        with config.unlocked(), config.ignore_type():
            if section == 'freeze':
                now = config.freeze
                now = {'strategy': now} if isinstance(now, str) else dict(now)
                if name in ('rules', 'phases'):
                    now.pop('strategy', None)
                config.freeze = {**now, name: value}
            else:
                with config[section].unlocked(), config[section].ignore_type():
                    config[section][name] = value
