"""Readers by prefix: `folder:PATH` is read by the row `folder`.

To add a source, write a function `read(argument, settings) -> Parts` and add its row.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from ftjax.data.dataset import Dataset
from ftjax.data.settings import DataSettings
from ftjax.data.user_paths import resolve_path
from ftjax.errors import UserError, check_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """What a source holds before it is split; None for a split that it has not."""

    train: Dataset | None
    val: Dataset | None = None
    test: Dataset | None = None
    notes: tuple[str, ...] = ()
    """Sentences on what was left out, or read in a way that is not the only one."""
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """{id of an example: what it belongs to}, where a column looks like that."""
    group_column: str = ''
    """The name of that column."""
    no_train: str = ''
    """What to say to who wants to train where there is no training split."""

    @property
    def given(self) -> dict[str, Dataset]:
        """The splits that there are."""
        every = {'train': self.train, 'val': self.val, 'test': self.test}
        return {name: part for name, part in every.items() if part is not None}

    @property
    def training(self) -> Dataset:
        """The training split; raises UserError where there is none."""
        if self.train is None:
            given = ', '.join(self.given) or 'nothing'
            raise UserError(self.no_train or f'the data hold {given} and no training split')
        return self.train


Reader = Callable[[str, DataSettings], Parts]

# prefix -> (module, what stands after the colon, or '' where nothing need). Imported when
# first used, so that a run pays only for the source it reads.
SOURCES: dict[str, tuple[str, str]] = {
    'digits': ('ftjax.data.sources.digits', ''),
    'glyphs': ('ftjax.data.sources.glyphs', ''),
    'docstrings': ('ftjax.data.sources.docstrings', ''),
    'folder': ('ftjax.data.sources.folder', 'PATH'),
    'csv': ('ftjax.data.sources.csv_file', 'PATH'),
    'jsonl': ('ftjax.data.sources.jsonl_file', 'PATH'),
    'npz': ('ftjax.data.sources.npz_file', 'PATH'),
    'tfds': ('ftjax.data.sources.tfds_records', 'NAME'),
}


def read_source(settings: DataSettings) -> Parts:
    """Reads `settings.source`; raises UserError for an unknown one, naming the nearest."""
    name, _, argument = settings.source.partition(':')
    if name not in SOURCES:
        _suggest_reader(settings.source)
    module, needs = SOURCES[check_name(name, SOURCES, 'data.source')]
    if needs and not argument:
        raise UserError(f'data.source {name!r} needs what to read: {name}:{needs}')
    reader: Reader = importlib.import_module(module).read
    return reader(argument, settings)


_BY_SUFFIX = {
    **dict.fromkeys(('.csv', '.tsv', '.txt'), 'csv'),
    **dict.fromkeys(('.jsonl', '.ndjson', '.json'), 'jsonl'),
    '.npz': 'npz',
}


def _suggest_reader(source: str) -> None:
    """UserError with the prefix that a path lacks; nothing for what is no path."""
    try:
        path = resolve_path(source)
        there = path.exists()
    except (UserError, OSError, ValueError):
        path, there = Path(source), False
    if not there and '/' not in source and '\\' not in source:
        return
    prefix = _BY_SUFFIX.get(path.suffix.lower(), '' if path.is_file() else 'folder')
    if path.is_dir() and any(file.suffix.lower() in _BY_SUFFIX for file in path.glob('train.*')):
        prefix = _BY_SUFFIX[next(path.glob('train.*')).suffix.lower()]
    if prefix:
        raise UserError(
            f'data.source {source!r} does not say how to read it; did you mean {prefix}:{source}?'
        )
    known = ', '.join(f'{name}:{what}' for name, (_, what) in SOURCES.items() if what == 'PATH')
    raise UserError(f'data.source {source!r} does not say how to read it; expected {known}')
