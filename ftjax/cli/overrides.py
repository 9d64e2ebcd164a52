"""What the command line may change of a config beyond what ml_collections can.

`--config.train.patience=None` and `--config.data.palette=None` for keys that may say nothing,
`--config.freeze.frozen_dtype=bfloat16` whether `config.freeze` is a text or a mapping so far,
`--config.model.dropout=0.1` and `--config.ablation.metric=f1_macro` whether `config.model` and
`config.ablation` have that field so far or not.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from ftjax.ablation.settings import AblationSettings
from ftjax.cli.listing import KEYED
from ftjax.config import Config
from ftjax.data.settings import DataSettings
from ftjax.distributed.mesh_settings import AXES
from ftjax.errors import UserError, check_name, shown
from ftjax.field_types import Expected, expected_of, fits
from ftjax.freezing.registry import parse
from ftjax.freezing.settings import EXTRA_KINDS, FreezeSettings

WORD = re.compile(r'--?config\.([\w.]+)=(.*)', re.DOTALL)
NONES = ('None', 'none')
NOTHING = Expected(())


def optional_keys() -> set[str]:
    """Dotted keys that may be None, of those that every config has."""
    return {key for key, value in nothing_by_key().items() if value is None}


def nothing_by_key() -> dict[str, object]:
    """What stands for nothing, by dotted key, in keys that may say nothing.

    None where it may be that, '' or 'none' of texts, an empty sequence or mapping of others.

    >>> found = nothing_by_key()
    >>> [found[key] for key in ('data.palette', 'data.sampler', 'data.augment', 'train.patience')]
    [(), '', 'none', None]
    """
    found: dict[str, object] = {f'mesh.{name}': None for name in AXES}
    found |= {name: value for name, value in nothing_of(Config).items() if name not in KEYED}
    for section, cls in KEYED.items():
        if section:
            found |= {f'{section}.{name}': value for name, value in nothing_of(cls).items()}
    return found


def nothing_of(cls: type) -> dict[str, object]:
    """What stands for nothing in the fields of some settings that may say nothing."""
    found: dict[str, object] = {'init': ''} if cls is Config else {}  # random weights
    known = expected_of(cls)
    for field in dataclasses.fields(cls):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if type(None) in known.get(field.name, NOTHING).kinds:
            found[field.name] = None
        elif default in ('', 'none') or (isinstance(default, tuple | Mapping) and not default):
            found[field.name] = default
    return found


def expected_at(key: str) -> str:
    """What a key of a config takes, in words; empty for one that not every config has."""
    section, _, name = key.rpartition('.')
    cls = KEYED.get(section) if section != 'freeze' else None
    known = expected_of(cls) if cls is not None else {}
    return known[name].text(None) if name in known else ''


def taken(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, object]]]:
    """The arguments without the overrides that are made here, and those, (key, value) each.

    >>> taken(['train.py', '--config.train.patience=None', '--config.freeze.rewarm=3'])
    (['train.py'], [('train.patience', None), ('freeze.rewarm', 3)])

    Raises:
      UserError: an unknown key of `freeze` or `ablation`, or a value that it does not take.
    """
    rest, found, nothing = [], [], nothing_by_key()
    for word in argv:
        match = WORD.fullmatch(word)
        given = nothing.get(match[1], ...) if match else ...
        if match and re.fullmatch(r'ablation\.\w+', match[1]):
            found.append((match[1], ablation_value(match[1].removeprefix('ablation.'), match[2])))
        elif match and isinstance(given, str) and match[2] in NONES:
            rest.append(f'--config.{match[1]}={given}')
        elif match and given is not ... and match[2] in (*NONES, *unset(given)):
            found.append((match[1], given))
        elif match and match[1].startswith('freeze.'):
            found.append((match[1], freeze_value(match[1].removeprefix('freeze.'), match[2])))
        elif match and match[1].startswith('model.'):
            found.append((match[1], literal(match[2])))
        else:
            rest.append(word)
    return rest, found


def unset(nothing: object) -> tuple[str, ...]:
    """What else than NONES unsets a key: no value at all, where it holds several."""
    return ('',) if isinstance(nothing, tuple | Mapping) else ()


def freeze_value(name: str, text: str) -> object:
    """The value of a field of `freeze` from its text."""
    return value_of(FreezeSettings, 'config.freeze', name, text)


def ablation_value(name: str, text: str) -> object:
    """The value of a field of `ablation` from its text.

    >>> ablation_value('seeds', '0,1'), ablation_value('seeds', '3'), ablation_value('budget', '')
    ((0, 1), (3,), '')
    """
    kinds = expected_of(AblationSettings).get(name, NOTHING).kinds
    if tuple in kinds and isinstance(literal(text), int | float):
        text = f'({text},)'  # one element
    return value_of(AblationSettings, 'config.ablation', name, text)


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
        several = tuple in expected_of(DataSettings).get(name, NOTHING).kinds
        if several and text[:1] not in '([' and text not in NONES:
            found.setdefault(name, []).append(tuple(filter(None, text.split(','))))
            continue
        found.setdefault(name, []).append(value_of(DataSettings, 'data', name, text))
    return found


def value_of(cls: type, where: str, name: str, text: str) -> Any:
    """The value of a field of some settings from its text."""
    known = expected_of(cls)
    check_name(name, known, f'key of {where}:')
    wanted = known[name]
    nothing = nothing_of(cls)
    if name in nothing and text in (*NONES, *unset(nothing[name])):
        return nothing[name]
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
    asked = frozenset(key for key, _ in changes)
    for key, value in changes:
        section, _, name = key.partition('.')
        check_name(section, list(config), 'config key')
        if not name:
            with config.unlocked(), config.ignore_type():
                config[section] = ConfigDict(value) if isinstance(value, Mapping) else value
            continue
        with config.unlocked(), config.ignore_type():
            if section == 'freeze':
                now = config.freeze
                now = {'strategy': now} if isinstance(now, str) else dict(now)
                kept = beside(now, name, value, asked) if value else now
                config.freeze = {**kept, name: value}
            else:
                with config[section].unlocked(), config[section].ignore_type():
                    config[section][name] = value


def beside(
    freeze: Mapping[str, Any], name: str, value: object, asked: Collection[str]
) -> dict[str, Any]:
    """`config.freeze` without what a file says that cannot stand beside a field's new value.

    What the command line itself has `asked` for stays: a contradiction is refused later.

    >>> beside({'rules': (('.*', 'a'),), 'norm': 'frozen'}, 'strategy', 'head', ())
    {'norm': 'frozen'}
    >>> phases = ((None, 'full'),)
    >>> [beside({'strategy': text}, 'phases', phases, ()) for text in ('lora:8', 'head')]
    [{'strategy': 'lora:8'}, {}]
    >>> [len(beside({'phases': phases}, 'strategy', text, ())) for text in ('lora:8', 'head')]
    [1, 0]
    """
    extra = is_extra({**freeze, name: value})
    gone = {
        'strategy': ('rules', 'multipliers', *(() if extra else ('phases',))),
        'rules': ('strategy', 'phases'),
        'phases': ('rules', 'multipliers', *(() if extra else ('strategy',))),
    }.get(name, ())
    return {
        key: value for key, value in freeze.items() if key not in gone or f'freeze.{key}' in asked
    }


def is_extra(freeze: Mapping[str, Any]) -> bool:
    """Whether the strategy may stand beside phases."""
    kinds = {term.details.kind for term in parse(str(freeze.get('strategy', 'full')))}
    return kinds <= {*EXTRA_KINDS}
