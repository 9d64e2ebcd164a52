"""Files that runs and ablations left behind, read with the fields that a reader needs checked."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from ftjax.errors import UserError
from ftjax.io.files.atomic import read_json
from ftjax.io.json.json_values import JsonObject

WORDS = {
    str: 'text',
    dict: 'an object',
    list: 'a list',
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
}


def read_fields(path: str | os.PathLike[str], fields: Mapping[str, type]) -> JsonObject:
    """Some fields of a JSON object in a file, by dotted name: see `check_fields_of`."""
    return check_fields_of(read_json(path), os.fspath(path), fields)


RESULT: dict[str, type] = {
    'metrics': dict,
    'metrics.n': int,
    'steps': int,
    'validation': dict,
    'best_step': int,
    'frozen_unchanged': bool,
    'moved_frozen': list,
    'still_trainable': list,
    'adapted': dict,
    'adapted.moved': list,
    'adapted.validation_before': dict,
    'averaged': dict,
    'averaged.strategy': str,
    'versions': dict,
    'provenance': dict,
}
"""The fields of a run's result.json that somebody reads."""


def read_result(path: str | os.PathLike[str], needed: Collection[str] = ()) -> JsonObject:
    """What the result.json of a finished run holds.

    Args:
      path: of the file.
      needed: fields that must be there; others may be missing, or null.

    Raises:
      UserError: see `check_fields_of`.
    """
    found = read_json(path)
    check_fields_of(found, os.fspath(path), RESULT, optional=set(RESULT) - set(needed))
    return found


def check_fields_of(
    found: object, where: str, fields: Mapping[str, type], optional: Collection[str] = ()
) -> dict[str, object]:
    """The fields of an object by dotted name, each of the type that it is to have.

    Args:
      found: what a file holds.
      where: its path, for the error.
      fields: dotted name to type; `float` takes whole numbers too.
      optional: those that may be missing, or null.

    Raises:
      UserError: no object, a field is missing or of another type; in one line with `where`.

    >>> check_fields_of({'a': {'b': 1}}, 'x.json', {'a.b': int})
    {'a.b': 1}
    """
    if not isinstance(found, dict):
        raise UserError(f'{where} holds {_shown(found)}; expected an object')
    values = {}
    for name, kind in fields.items():
        value: object = found
        for part in name.split('.'):
            if not isinstance(value, dict) or part not in value:
                value = None
                if name in optional:
                    break
                raise UserError(f'{where} has no {name!r}; expected {WORDS[kind]}')
            value = value[part]
        if value is None and name in optional:
            continue
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise UserError(f'{where}: {name!r} is {_shown(value)}; expected {WORDS[kind]}')
        values[name] = value
    return values


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + '...'
