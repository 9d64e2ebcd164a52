"""What there is to name in a config: registered parts by kind, and the keys of each section."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator

from ftjax import registry
from ftjax.ablation.settings import AblationSettings
from ftjax.config import SECTIONS, Config
from ftjax.errors import check_name
from ftjax.freezing.settings import FreezeSettings
from ftjax.tasks.registry import Loss, tasks

KEYED = {'': Config, **SECTIONS, 'freeze': FreezeSettings, 'ablation': AblationSettings}
ALL = 'all'


def list_parts(kind: str) -> Iterator[str]:
    """Lines: an example of each part's string, its arguments and what it does; `all` kinds."""
    if kind != ALL:
        check_name(kind, registry.KINDS, 'kind of part:')
    for name in registry.KINDS if kind == ALL else [kind]:
        found, about = registry.parts(name), registry.KINDS[name]
        if kind == ALL:
            yield f'{name}: {about.said} (config.{about.key})'
        indent = '  ' if kind == ALL else ''
        for part in sorted(found.values(), key=lambda part: (decides(part), part.name)):
            more = f' ({", ".join(part.parameters)})' if len(part.parameters) > 1 else ''
            middle = f'{decides(part):14} ' if name in ('strategy', 'loss') else ''
            source = f' [{part.source}]' if part.source and kind != ALL else ''
            said = part.summary or f'(no docstring; {part.file})'
            yield f'{indent}{part.example:18} {middle}{said}{more}{source}'
        for task, known in tasks().items() if name == 'metric' else ():
            names = ', '.join(metric.name for metric in known.metrics)
            yield f'{indent}{task:18} {names}; by default {known.default_metric}'


def decides(part: registry.Part) -> str:
    """Of a strategy its own kind, of a loss its tasks: parts are listed by that."""
    if part.kind == 'loss':
        return ' or '.join((part.details or Loss()).tasks) or 'all tasks'
    return part.details.kind if part.kind == 'strategy' else ''


def list_keys(section: str) -> Iterator[str]:
    """Lines: each key of a section with type and default, below it what it means; `all` sections.

    Of `train.loss`, a key, that key alone, and which section it is of. Raises UserError for a
    section or key that there is not.
    """
    section, only = section.removeprefix('config.'), ''
    whole, _, last = section.rpartition('.')
    if section not in (ALL, *KEYED) and whole in KEYED and last in keys_of(whole):
        section, only = whole, last
        of = f'the section {whole!r}' if whole else 'a config, of no section'
        yield f'{last} is a key of {of}'
    elif whole in KEYED and whole:
        check_name(last, keys_of(whole), f'key of config.{whole}:')
    elif section != ALL:
        known = [name for name in KEYED if name]
        check_name(whole or section, [*known, *keys_of('')], 'section of a config:')
    for name in KEYED if section == ALL else [section]:
        cls, dot = KEYED[name], '.' if name else ''
        said = docstrings(cls)
        for field in dataclasses.fields(cls):
            if only not in ('', field.name) or (not name and field.name in KEYED):
                continue
            default = field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            shown = '' if default is dataclasses.MISSING else f' = {default!r}'
            yield f'config.{name}{dot}{field.name}: {type_said(str(field.type))}{shown}'
            text = said.get(field.name, '')
            yield from textwrap.wrap(text, 92, initial_indent='    ', subsequent_indent='    ')


def keys_of(section: str) -> list[str]:
    """The keys of a section; those of a config that stand in none for ''."""
    return [f.name for f in dataclasses.fields(KEYED[section]) if section or f.name not in KEYED]


def type_said(written: str) -> str:
    """A field's type and range as they are written, without the word that joins them.

    >>> type_said('Annotated[float | None, above(0)]')
    'float | None, above(0)'
    """
    return written.removeprefix('Annotated[').removesuffix(']') if '(' in written else written


def docstrings(cls: type) -> dict[str, str]:
    """The text below each field of a class, on one line.

    >>> docstrings(SECTIONS['optimizer'])['momentum']
    'Of sgd.'
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for before, after in zip(tree.body, tree.body[1:], strict=False):
        text = ast.get_docstring(ast.Module([after], []))
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and text:
            found[before.target.id] = ' '.join(text.split())
    return found
