"""Whose rows a folder holds: ablation.json, and the refusal to mix two ablations."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ftjax.ablation.settings import AblationSettings
from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable, write_json
from ftjax.io.json.stored_fields import read_fields

FILE = 'ablation.json'
OTHER = 'choose another --workdir'
CHANGES = ('arms', 'also_evaluate')
"""Hold changes of the config: what is left out there is as the config says, and not off."""


def claim(folder: pathlib.Path, settings: AblationSettings, fixed: Mapping[str, object]) -> None:
    """Notes what the folder's rows are made with; refuses to mix two ablations.

    Arms, rates and seeds may be added and left out: rows know of which they are. An arm that was
    left out stays noted, so that its name keeps its meaning. Settings that a later version has
    added do not make another ablation while they are off.

    Raises:
      UserError: rows of another config, or rows of which nobody noted what made them.
    """
    described = _described(settings, fixed)
    known, rows = folder / FILE, folder / 'runs.jsonl'
    if not known.exists() and rows.exists() and rows.stat().st_size:
        raise UserError(
            f'{rows} holds rows and there is no {FILE} beside it to say of which config, as '
            f'where an ablation of several tasks put all of them together; {OTHER}'
        )
    described['arms'] = {**check_claim(folder, settings, fixed), **described['arms']}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    write_json(known, {'digest': digest, 'config': described})


def check_claim(
    folder: pathlib.Path,
    settings: AblationSettings,
    fixed: Mapping[str, object],
    unnamed: Collection[str] = (),
    named: str = '',
    other: str = OTHER,
) -> dict[str, object]:
    """The arms that a folder notes, with their changes; {} where it notes nothing.

    Args:
      unnamed: changes of arms that the config does not name, and that are not compared.
      named: how the message names the folder; '' for as it is.
      other: what the message advises.

    Raises:
      UserError: it notes another config.
    """
    known, described = folder / FILE, _described(settings, fixed)
    if not known.exists():
        return {}
    before = read_fields(known, {'digest': str, 'config': dict})['config']
    arms = read_fields(known, {'config.arms': dict})['config.arms']
    there, here = (
        {
            **one,
            'arms': {
                arm: _without(one['arms'][arm], unnamed) for arm in one['arms'] if arm in other
            },
        }
        for one, other in ((before, described['arms']), (described, arms))
    )
    different = next(differences(there, here), None)
    if different is not None:
        raise UserError(
            f'{named or folder} holds an ablation of another config: {different}; {other}'
        )
    return arms


def check_place(folder: pathlib.Path) -> None:
    """Raises UserError where rows of several tasks would replace those of one ablation."""
    if (folder / FILE).exists():
        raise UserError(f'{folder} holds an ablation without tasks; {OTHER}')


def differences(one: object, other: object, path: str = '', strict: bool = False) -> Iterator[str]:
    """Where two descriptions differ; keys left out count where their value means something.

    Where it is strict, and below CHANGES, every key that is left out counts.

    >>> list(differences({'rate': 1}, {'rate': 1, 'folds': 0}))
    []
    >>> list(differences({'arms': {'a': {}}}, {'arms': {'a': {'folds': 0}}}))
    ['arms.a.folds is given only here (0)']
    >>> list(differences({'train': {'steps': 1}}, {'train': {'steps': 2}}))
    ['train.steps is 1 there and 2 here']
    """
    if not (isinstance(one, dict) and isinstance(other, dict)):
        if one != other:
            yield f'{path} is {_short(one)} there and {_short(other)} here'
        return
    for key in {**one, **other}:
        where = f'{path}.{key}' if path else key
        if key in one and key in other:
            yield from differences(one[key], other[key], where, strict or where in CHANGES)
        elif strict or not is_off(one.get(key, other.get(key))):
            told = 'only there' if key in one else 'only here'
            yield f'{where} is given {told} ({_short(one.get(key, other.get(key)))})'


def is_off(value: object) -> bool:
    """Whether a setting is at a value that means as much as its absence.

    >>> is_off({'data': None, 'fsdp': None}), is_off({'data': 4, 'fsdp': None})
    (True, False)
    """
    if isinstance(value, dict):
        return all(is_off(part) for part in value.values())
    return value in (None, False, 0, '', 'none', [])


def _described(settings: AblationSettings, fixed: Mapping[str, object]) -> dict[str, Any]:
    arms = {arm: settings.changes(arm) for arm in settings.arms}
    return to_jsonable({'arms': arms, **settings.rows_hold, **fixed})


def _without(changes: Any, names: Collection[str]) -> Any:
    if not isinstance(changes, dict):
        return changes
    return {key: value for key, value in changes.items() if key not in names}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + '...'
