"""What a config can hold, as pages in Markdown: keys by section, strategies by kind."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from ftjax import registry
from ftjax.cli.listing import ALL, KEYED, docstrings, keys_of, type_said
from ftjax.errors import UserError, check_name
from ftjax.freezing.registry import KINDS, catalogue
from ftjax.io.json.json_reader import read_json
from ftjax.tasks.registry import tasks

SECTION = {'': 'Keys of no section'}
COSTS = pathlib.Path('results/benchmarks/strategies.json')


def keys_markdown(section: str = ALL) -> Iterator[str]:
    """Lines: a heading and a table a section: key, type with its range, default, meaning."""
    if section != ALL:
        check_name(section, KEYED, 'section of a config:')
    for name in KEYED if section == ALL else [section]:
        cls, said = KEYED[name], docstrings(KEYED[name])
        heading = f'config.{name}' if name else SECTION['']
        rows = []
        for field in dataclasses.fields(cls):
            if field.name not in keys_of(name):
                continue
            rows.append(
                (
                    f'`{field.name}`',
                    code(type_said(str(field.type))),
                    code(default_of(field)),
                    said.get(field.name, ''),
                )
            )
        yield from ('', f'### {heading}', '')
        yield from table(('key', 'type', 'default', 'meaning'), rows)


def parts_markdown(kind: str) -> Iterator[str]:
    """Lines: a table of the parts of a kind, as `--list KIND` has them; strategies by their own.

    Of all kinds where none is named, each under its heading.
    """
    if kind == ALL:
        for one in registry.KINDS:
            yield from ('', f'### {one}', '', *parts_markdown(one))
        return
    check_name(kind, registry.KINDS, 'kind of part:')
    if kind == 'strategy':
        yield from strategies_markdown(measured_costs())
        return
    rows = [
        (code(part.example), part.summary, code(defaults(part)))
        for part in sorted(registry.parts(kind).values(), key=lambda part: part.name)
    ]
    yield from table(('written as', 'what it does', 'arguments'), rows)
    if kind == 'metric':
        known = [
            (name, ', '.join(metric.name for metric in task.metrics), task.default_metric)
            for name, task in tasks().items()
        ]
        yield from ('', *table(('task', 'its own metrics', 'by default'), known))


def strategies_markdown(costs: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Lines: a table a kind of strategy: string, what it does, arguments, measured cost, source.

    Args:
      costs: row of results/benchmarks/strategies.json by the strategy's name.
    """
    found = sorted(catalogue().values(), key=lambda part: part.name)
    for kind, said in KINDS.items():
        rows = []
        for part in (part for part in found if part.details.kind == kind):
            cost = costs.get(part.name, {})
            shares = [cost.get(key) for key in ('time_of_full', 'optimizer_of_full')]
            rows.append(
                (
                    code(part.example),
                    part.summary,
                    code(defaults(part)),
                    *('–' if share is None else f'{share:.2g}' for share in shares),
                    part.source,
                )
            )
        if rows:
            yield from ('', f'### {kind}: {said}', '')
            heads = ('written as', 'what it does', 'arguments', 'step', 'optimizer', 'source')
            yield from table(heads, rows)


def measured_costs(folder: pathlib.Path = pathlib.Path()) -> dict[str, Mapping[str, float]]:
    """Rows of the benchmark of strategies by strategy; {} where it is not there.

    A row is called as the strategy was written, 'lora:8+loraplus:16' for loraplus. Of rows of
    several machines the first counts: that of the machine that measured last.
    """
    path = folder / COSTS
    if not path.exists():
        return {}
    found: dict[str, Mapping[str, float]] = {}
    for row in read_json(path):
        found.setdefault(row['row'].rpartition('+')[2].partition(':')[0], row)
    return found


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table in Markdown; a cell's own bars are escaped."""
    yield f'| {" | ".join(heads)} |'
    yield f'| {" | ".join(["---"] * len(heads))} |'
    for row in rows:
        yield f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in row)} |'


def default_of(field: dataclasses.Field) -> str:
    """A field's default as Python writes it; '' where it must be given."""
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return '' if field.default is dataclasses.MISSING else repr(field.default)


def defaults(part: registry.Part) -> str:
    """A part's arguments with their defaults."""
    return ', '.join(f'{name}={value!r}' for name, value in part.parameters.items())


def code(text: str) -> str:
    """Text as code; nothing for nothing."""
    return f'`{text}`' if text else ''


def with_generated(page: str, name: str, lines: Sequence[str]) -> str:
    """A page whose part between the marks `<!-- NAME:start -->` and `end` is these lines.

    Raises:
      UserError: the page has no such marks.
    """
    start, end = f'<!-- {name}:start -->', f'<!-- {name}:end -->'
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UserError(f'the page has no part {name!r} between {start} and {end}')
    return f'{before}{start}\n' + '\n'.join(lines).strip('\n') + f'\n{end}{after}'
