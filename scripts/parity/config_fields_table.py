"""Writes results/parity/config_fields.md: what each field of every config.json is to ftjax.

    python scripts/parity/config_fields_table.py

A field is read, changes nothing (and why), is noise in training that is not applied (and the
load report says so), or is refused unless it has its default. The rows come from what the
families declare and from ftjax/pretrained/config_fields.json, the configuration classes of
transformers, which `python scripts/parity/make_config_fields.py` writes.
"""

from __future__ import annotations

import pathlib
from typing import Any

from ftjax.cli import launch
from ftjax.pretrained import families
from ftjax.pretrained.config_fields import EVERYWHERE, INERT, READ, TIMM, Fields, known, table

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = ROOT / 'results' / 'parity' / 'config_fields.md'
READS = 'read'


def main() -> None:
    OUTPUT.write_text(markdown())
    print(f'wrote {OUTPUT}')


def markdown() -> str:
    """The whole page."""
    found = table()
    lines = [
        '# Fields of config.json',
        '',
        'What each field of a configuration class of transformers '
        f'{found["transformers"]} is to ftjax. Written by',
        '`python scripts/parity/config_fields_table.py`; held by',
        'tests/pretrained/test_config_fields.py.',
        '',
        '"Refused": any value but the default is an error that names field, value and family. The',
        'third column says whether the code of the model in transformers, or code that all models',
        'share, reads a field of that name. A field that is in no class and that nothing reads is',
        'named in the load report; a field of another family is refused, unless it is null, false,',
        '0 or empty.',
        '',
        '## All families, where a family does not say otherwise',
        '',
        '| field | default | here |',
        '|---|---|---|',
        *(f'| {name} | | {READS} |' for name in READ),
        *(f'| {name} | {_plain(found["base"].get(name))} | {_no(INERT[name])} |' for name in INERT),
        *(f'| {name} | {_plain(value)} | refused |' for name, value in EVERYWHERE.items()),
        f'| {", ".join(found["generation"])} | | {_no("of text generation")} |',
    ]
    done: set[str] = set()
    for family in families.rows():
        for model_type, fields in getattr(families.module(family), 'FIELDS', {}).items():
            if model_type not in done:
                done.add(model_type)
                lines += _section(family, model_type, fields)
    return '\n'.join([*lines, ''])


def _section(family: str, model_type: str, fields: Fields) -> list[str]:
    what = 'all of timm' if model_type == TIMM else f'{family}: {model_type}'
    head = ['', f'## {what}', '', '| field | default | read by transformers | here |']
    return [*head, '|---|---|---|---|', *(f'| {" | ".join(r)} |' for r in rows(model_type, fields))]


def rows(model_type: str, fields: Fields) -> list[tuple[str, str, str, str]]:
    """(field, default, read by transformers, here) of all that the class or the family names."""
    found = known(model_type)
    everywhere = {*table()['base'], *READ}
    own = {*found.defaults, *table()['classes'].get(model_type, {}).get('code', ())} - everywhere
    declared = [*fields.reads, *fields.inert, *fields.noise, *fields.stand_ins]
    aliases = {alias: f'another name of {name}' for alias, name in found.aliases.items()}
    result = []
    for name in sorted({*own, *declared, *aliases}):
        default = _plain(found.defaults[name]) if name in found.defaults else 'none'
        read = '' if model_type == TIMM else 'yes' if name in found.code else 'no'
        result.append((name, default, read, aliases.get(name) or verdict(name, fields)))
    return result


def verdict(name: str, fields: Fields) -> str:
    """What a field is to a family, in a phrase."""
    if name in fields.nested:
        return f'{READS}, as {fields.nested[name]}'
    if name in fields.reads:
        return READS
    if name in fields.inert:
        return _no(fields.inert[name])
    if name in fields.noise:
        return f'not applied, and said so: {fields.noise[name]}'
    if name in fields.stand_ins:
        return f'{fields.stand_ins[name]} is used, and a difference said'
    if name in INERT:
        return _no(INERT[name])
    if 'drop' in name:
        return _no('noise of training in no part that is here')
    return 'refused'


def _no(why: str) -> str:
    return f'changes nothing: {why}'


def _plain(value: Any) -> str:
    return 'none' if value is None else str(value)


if __name__ == '__main__':
    launch.run(main)
