"""Parts of pages that are made from the code: config keys, strategies, recipes."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator, Mapping

from ftjax.cli.listing_markdown import (
    code,
    keys_markdown,
    measured_costs,
    strategies_markdown,
    table,
    with_generated,
)
from ftjax.io.files.atomic import write_bytes

KEYS = 'configs/README.md'
STRATEGIES = 'ftjax/freezing/strategies/README.md'


def generated(root: pathlib.Path) -> Mapping[str, Mapping[str, list[str]]]:
    """Page -> name of a part -> its lines, for a checkout."""
    return {
        KEYS: {'recipes': list(recipes(root)), 'keys': list(keys_markdown())},
        STRATEGIES: {'strategies': list(strategies_markdown(measured_costs(root)))},
    }


def pages(root: pathlib.Path) -> Iterator[tuple[pathlib.Path, str, str]]:
    """Each page, as it is and as it should be."""
    for name, parts in generated(root).items():
        path = root / name
        now = made = path.read_text(encoding='utf-8')
        for part, lines in parts.items():
            made = with_generated(made, part, lines)
        yield path, now, made


def write_pages(root: pathlib.Path) -> list[pathlib.Path]:
    """Writes what has changed; returns those files."""
    changed = [(path, made) for path, now, made in pages(root) if made != now]
    for path, made in changed:
        write_bytes(path, made.encode())
    return [path for path, _ in changed]


def recipes(root: pathlib.Path) -> Iterator[str]:
    """Lines: a table of the configs, with the first line of each one's docstring."""
    rows = []
    for path in sorted((root / 'configs').rglob('*.py')):
        said = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
        rows.append((code(path.relative_to(root).as_posix()), said.split('\n')[0]))
    yield from table(('config', 'what it is'), rows)
