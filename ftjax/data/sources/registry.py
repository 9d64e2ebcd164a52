"""Readers by prefix: `folder:PATH` is read by the row `folder`.

To add a source, write a function `read(argument, settings) -> Parts` and add its row.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable

from ftjax.data.dataset import Dataset
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError, check_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """What a source holds before it is split; val and test are None where it has none."""

    train: Dataset
    val: Dataset | None = None
    test: Dataset | None = None


Reader = Callable[[str, DataSettings], Parts]

# prefix -> (module, what stands after the colon, or '' where nothing need). Imported when
# first used, so that a run pays only for the source it reads.
SOURCES: dict[str, tuple[str, str]] = {
    'digits': ('ftjax.data.sources.digits', ''),
    'glyphs': ('ftjax.data.sources.printed', ''),
    'docstrings': ('ftjax.data.sources.standard_library', ''),
    'folder': ('ftjax.data.sources.folder', 'PATH'),
    'csv': ('ftjax.data.sources.table', 'PATH'),
    'jsonl': ('ftjax.data.sources.lines', 'PATH'),
    'npz': ('ftjax.data.sources.arrays', 'PATH'),
    'tfds': ('ftjax.data.sources.tfds_records', 'NAME'),
}


def read_source(settings: DataSettings) -> Parts:
    """Reads `settings.source`; raises UserError for an unknown one, naming the nearest."""
    name, _, argument = settings.source.partition(':')
    module, needs = SOURCES[check_name(name, SOURCES, 'data.source')]
    if needs and not argument:
        raise UserError(f'data.source {name!r} needs what to read: {name}:{needs}')
    reader: Reader = importlib.import_module(module).read
    return reader(argument, settings)
