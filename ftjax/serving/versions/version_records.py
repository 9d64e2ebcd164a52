"""What is written of a version, and of a change of what is in production: JSON with a checksum."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.json.json_reader import JsonLimits, parse_json
from ftjax.io.json.json_values import Integer, Kind, ListOf, Table, Text, check_table
from ftjax.serving.bundle.manifest import MANIFEST, file_name
from ftjax.serving.bundle.run_facts import check_run_facts
from ftjax.serving.versions.version_names import MOST, STAGES
from ftjax.serving.versions.version_store import LARGEST

LIMITS = JsonLimits(size=LARGEST, depth=24, duplicates=False)
ACTIONS = ('promote', 'rollback')
_NUMBER = Integer(1, MOST)
_COMMON: dict[str, Kind] = {
    'name': Text(longest=64),
    'number': _NUMBER,
    'when': Text(longest=64),
    'who': Text(longest=200),
    'token': Text(longest=64),
}
_VERSION: dict[str, Kind] = {
    **_COMMON,
    'sha256': Text(longest=64),
    'files': Table(of=Integer(0, 2**50)),
    'note': Text(),
    'run': Table(),
    'facts': Table(),
}
_EVENT: dict[str, Kind] = {
    **_COMMON,
    'action': Text(ACTIONS),
    'stage': Text(STAGES),
    'version': _NUMBER,
    'reason': Text(),
    'before': ListOf(_NUMBER, 0, 10**6),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Version:
    """A published bundle."""

    name: str
    number: int
    sha256: str
    """Of bundle.json, in hex: it names the bundle down to its last bit."""
    files: Mapping[str, int]
    """Names with bytes, bundle.json too."""
    when: str
    """UTC, ISO 8601, by the clock of the publisher; numbers, not times, say what came first."""
    who: str
    note: str = ''
    run: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """run.json of the bundle: config, data fingerprint, metrics; {} where it has none."""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further facts of the publisher's."""
    token: str = ''
    """Unlike that of any other record."""

    def __str__(self) -> str:
        return f'{self.name}@{self.number}'

    @property
    def folder(self) -> str:
        """Where its files lie in the store."""
        return f'{self.name}/bundles/{self.sha256}'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """A change of what a stage holds."""

    name: str
    number: int
    action: str
    stage: str
    version: int
    """What the stage holds from now on."""
    before: tuple[int, ...]
    """What a rollback goes back to: the last of them first goes."""
    when: str
    who: str
    reason: str
    token: str = ''


def to_bytes(record: Version | Event) -> bytes:
    """A record as a file holds it."""
    told = to_jsonable(record)
    return json.dumps({'record': told, 'sha256': _checksum(told)}, indent=1).encode() + b'\n'


def read_version(data: bytes, where: str, name: str, number: int) -> Version:
    """The record of a version; UserError for one that is damaged or another's."""
    found = _read(data, where, _VERSION, (name, number))
    for file in found['files']:
        file_name(file, where)
    if MANIFEST not in found['files']:
        raise UserError(f'{where}: its files lack {MANIFEST}')
    if len(found['sha256']) != 64 or not set(found['sha256']) <= set('0123456789abcdef'):
        raise UserError(f'{where}: sha256 is none')
    check_run_facts(found['run'], f'{where}: run')
    return Version(**found)


def read_event(data: bytes, where: str, name: str, number: int) -> Event:
    """The record of a change; UserError for one that is damaged or another's."""
    found = _read(data, where, _EVENT, (name, number))
    fields: dict[str, Any] = {**found, 'before': tuple(found['before'])}
    return Event(**fields)


def _read(
    data: bytes, where: str, kinds: Mapping[str, Kind], whose: tuple[str, int]
) -> dict[str, Any]:
    whole = parse_json(data, where, LIMITS)
    if not isinstance(whole, dict) or set(whole) != {'record', 'sha256'}:
        raise UserError(f'{where} is no record of a version')
    found = whole['record']
    if not isinstance(found, dict) or _checksum(found) != whole['sha256']:
        raise UserError(f'{where} does not fit its own checksum: it is damaged, or was changed')
    if set(found) != set(kinds):
        odd = sorted(set(found) ^ set(kinds))
        raise UserError(f'{where}: field {odd[0]} is unknown or missing; install a newer ftjax?')
    check_table(found, kinds, where)
    if (found['name'], found['number']) != whose:
        raise UserError(f'{where} is the record of {found["name"]} number {found["number"]}')
    return found


def _checksum(told: object) -> str:
    text = json.dumps(told, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()
