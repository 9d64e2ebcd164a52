"""Readers by prefix: `folder:PATH` is read by the row `folder`.

To add a source, register a function `read(argument, settings) -> Parts`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from ftjax.data.dataset import Dataset
from ftjax.data.exclude import excluded
from ftjax.data.labels import labels_of
from ftjax.data.settings import DataSettings
from ftjax.data.splits.grouping import with_groups
from ftjax.data.user_paths import resolve_path
from ftjax.errors import UserError
from ftjax.registry import find, parts, register


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """What a source holds before it is split; None for a split that it has not."""

    train: Dataset | None
    val: Dataset | None = None
    test: Dataset | None = None
    unlabelled: Dataset | None = None
    """Examples without a label; those that stand in their labels mean nothing."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out, or read in a way that is not the only one."""
    group_columns: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    """By column whose name says what an example belongs to {id of an example: what stands
    there}."""
    slices: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    """By column of data.slices {id of an example: what stands there}."""
    no_train: str = ''
    """What to say to who wants to train where there is no training split."""
    reads: Collection[str] | None = None
    """Which keys of COLUMN_KEYS the source reads; None for all, or where nobody says."""

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


COLUMN_KEYS = (
    *('split_column', 'features', 'missing', 'text_columns', 'text_pair_column', 'train_file'),
)
"""Keys of `config.data` that speak of the columns and files of tables."""

IN_PYTHON = 'given in Python'
"""The source of data that no reader read."""

Reader = Callable[[str, DataSettings], Parts]
"""What a source is: of what stands after the colon, and the settings of the data."""


@dataclasses.dataclass(frozen=True)
class Source:
    """The `details` of a source."""

    needs: str = ''
    """What must stand after the colon: 'PATH'; '' where nothing need."""


# A module is imported when first used, so that a run pays only for the source it reads.
for _name, _module, _needs in (
    ('digits', 'shipped.digits', ''),
    ('glyphs', 'shipped.glyphs', ''),
    ('docstrings', 'shipped.docstrings', ''),
    ('breast_cancer', 'shipped.breast_cancer', ''),
    ('fraud', 'shipped.fraud', ''),
    ('folder', 'folders.folder', 'PATH'),
    ('masks', 'folders.mask_folder', 'PATH'),
    ('pages', 'shipped.glyph_pages', ''),
    ('csv', 'tables.csv_file', 'PATH'),
    ('jsonl', 'tables.jsonl_file', 'PATH'),
    ('conll', 'conll_file', 'PATH'),
    ('npz', 'npz_file', 'PATH'),
    ('tfds', 'tfds_records', 'NAME'),
):
    _target = f'ftjax.data.sources.{_module}:read'
    register('source', _name, target=_target, details=Source(_needs))


def read_source(settings: DataSettings) -> Parts:
    """Reads `settings.source`; raises UserError for an unknown one, naming the nearest."""
    if settings.source == IN_PYTHON:
        raise UserError(
            'the data were given in Python and are no longer there; give them again, or name a '
            'source (data.source, --data.source)'
        )
    name, _, argument = settings.source.partition(':')
    if name not in parts('source'):
        _suggest_reader(settings.source)
    part = find('source', name)
    needs = '' if part.details is None else part.details.needs
    if settings.source.endswith(':') and not needs:
        raise UserError(f'data.source {settings.source!r}: nothing stands after the colon')
    if needs and not argument:
        raise UserError(f'data.source {name!r} needs what to read: {name}:{needs}')
    reader: Reader = part.function
    return completed(reader(argument, settings), settings)


def completed(read: Parts, settings: DataSettings) -> Parts:
    """What a source, or a program, gave, without what `data.exclude` leaves out; with groups.

    Labels that are numbers are divided by data.label_scale.

    Raises:
      UserError: groups that cannot be read or that two splits share, a broken image file, or an
        index of `data.exclude` that does not fit.
    """
    given = {name: _scaled(_of_task(part, settings), settings) for name, part in read.given.items()}
    notes = list(read.notes)
    if settings.exclude:
        given, note = excluded(given, settings.exclude)
        notes.append(note)
    # After the index, which may have left out what lies in two splits.
    given = with_groups(given, settings)
    if read.unlabelled is not None:
        given['unlabelled'] = _of_task(read.unlabelled, settings)
    given, found = verified(given, settings.verify)
    return dataclasses.replace(read, **given, notes=(*notes, *found))  # pyrefly: ignore


def _scaled(dataset: Dataset, settings: DataSettings) -> Dataset:
    """The data set with labels divided by data.label_scale."""
    if settings.label_scale == 1:
        return dataset
    labels = (dataset.labels / settings.label_scale).astype(dataset.labels.dtype)
    return dataclasses.replace(dataset, labels=labels)


def verified(parts: Mapping[str, Dataset], how: str) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """Splits whose image files are looked at, and sentences on how these are read.

    Raises:
      UserError: naming a broken file.
    """
    files = {name: part for name, part in parts.items() if part.kind == 'image_file'}
    if not files or how == 'none':
        return dict(parts), ()
    from ftjax.data.images.verify import verify_images  # it opens files in threads

    found = verify_images([path for part in files.values() for path in part.inputs], how)
    looked = {name: dataclasses.replace(part, whites=found.whites) for name, part in files.items()}
    return {**parts, **looked}, found.notes


def is_named(source: str) -> bool:
    """Whether a source reads what the user names; not one that ftjax makes itself."""
    part = parts('source').get(source.partition(':')[0])
    return part is not None and (part.details is None or bool(part.details.needs))


def _of_task(dataset: Dataset, settings: DataSettings) -> Dataset:
    """The data set under the task of the settings, which a source need not set itself."""
    if dataset.task == settings.task:
        return dataset
    kind = labels_of(settings.task)
    if type(dataset.label_kind) is not type(kind):
        raise UserError(
            f'{dataset.name} holds labels of a task of {dataset.task}; data.task is '
            f'{settings.task!r}'
        )
    return dataclasses.replace(dataset, task=settings.task)


_BY_SUFFIX = {
    **dict.fromkeys(('.csv', '.tsv', '.txt'), 'csv'),
    **dict.fromkeys(('.jsonl', '.ndjson', '.json'), 'jsonl'),
    **dict.fromkeys(('.conll', '.bio', '.iob', '.iob2'), 'conll'),
    '.npz': 'npz',
}


def _suggest_reader(source: str) -> None:
    """UserError with the prefix that a path lacks; nothing for what is no path."""
    try:
        path = resolve_path(source)
        there = path.exists()
    except (UserError, OSError, ValueError):
        path, there = Path(source), False
    named = path.suffix.lower() in _BY_SUFFIX
    if not there and not named and '/' not in source and '\\' not in source:
        return
    prefix = _BY_SUFFIX.get(path.suffix.lower(), '' if path.is_file() else 'folder')
    if path.is_dir() and any(file.suffix.lower() in _BY_SUFFIX for file in path.glob('train.*')):
        prefix = _BY_SUFFIX[next(path.glob('train.*')).suffix.lower()]
    if prefix:
        raise UserError(
            f'data.source {source!r} does not say how to read it; did you mean {prefix}:{source}?'
        )
    paths = [name for name, part in parts('source').items() if part.details == Source('PATH')]
    known = ', '.join(f'{name}:PATH' for name in paths)
    raise UserError(f'data.source {source!r} does not say how to read it; expected {known}')
