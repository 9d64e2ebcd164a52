"""From settings to the three splits: read, cut what the source does not give, keep a few."""

from __future__ import annotations

import dataclasses

from ftjax.data.dataset import Dataset, Splits
from ftjax.data.images.corruption import corrupt
from ftjax.data.images.geometry import match_channels
from ftjax.data.joined import joined
from ftjax.data.labels.names import check_class_name, spelling_note
from ftjax.data.settings import DataSettings
from ftjax.data.sources.registry import COLUMN_KEYS, Parts, read_source
from ftjax.data.splits.splitting import SUBSET, TEST, VAL, fold, hold_out, hold_out_per_class
from ftjax.data.unlabelled_split import read_unlabelled
from ftjax.errors import UserError


def load_data(settings: DataSettings) -> Splits:
    """Reads a source and splits it, deterministically and stratified by class.

    Splits that the source has are kept. Others are cut from its training examples, the test
    split first; both fractions are of the training examples before any cut. With folds the
    test split is one of them. Few-shot subsets are taken last, from training alone
    (`examples_per_class`).

    Raises:
      UserError: for anything in the settings or the data that cannot be used.

    >>> splits = load_data(DataSettings(source='digits', examples_per_class=10))
    >>> len(splits.train), len(splits.val), len(splits.test), splits.train.inputs.shape[1:]
    (100, 270, 359, (8, 8, 1))
    """
    return split_data(read_source(settings), settings)


def split_data(parts: Parts, settings: DataSettings) -> Splits:
    """As `load_data`, of what a source gave."""
    train, test = parts.training, parts.test
    if set(settings.slices) - set(parts.slices):
        raise UserError(
            f'data.slices names columns of a CSV or JSONL file; data.source {settings.source!r} '
            'has none'
        )
    _check_columns(parts, settings)
    whole = len(train)
    if not whole:
        raise UserError(f'{settings.source}: no training examples')
    _check_classes(train)
    notes = [*parts.notes, *filter(None, [spelling_note(train.class_names)])]
    seed = settings.seed if settings.test_seed is None else settings.test_seed
    if settings.folds:
        train, test = fold(train, settings.folds, settings.fold, seed)
    elif settings.test_per_class is not None:
        train, test = _per_class(train, test, 'test', seed, TEST, settings, notes)
    elif test is None:
        train, test = _cut(train, whole, settings.test_fraction, seed, TEST)
    val = parts.val
    if settings.val_per_class is not None:
        train, val = _per_class(train, val, 'val', settings.seed, VAL, settings, notes)
    elif val is None:
        train, val = _cut(train, whole, settings.val_fraction, settings.seed, VAL)
    if settings.examples_per_class is not None:
        key, every = 'data.examples_per_class', len(train)
        _, train = hold_out_per_class(
            train, settings.examples_per_class, settings.seed, SUBSET, key
        )
        if len(train) < every:
            notes.append(_kept(len(train), every, 'training', key, settings))
    _check_classes(train)
    unlabelled, kept = read_unlabelled(settings, train), parts.unlabelled
    if kept is not None:  # rows without a label, by data.missing
        unlabelled = kept if unlabelled is None else joined(kept, unlabelled)
    splits = [
        _finish(split, name, settings)
        for name, split in (('train', train), ('val', val), ('test', test))
    ]
    found = Splits(
        train=splits[0],
        val=splits[1],
        test=splits[2],
        unlabelled=None if unlabelled is None else _finish(unlabelled, 'unlabelled', settings),
        notes=tuple(notes),
        group_columns=parts.group_columns,
        given=tuple(name for name in parts.given if not (name == 'test' and settings.folds)),
        slices=parts.slices,
    )
    if settings.sliding is None:
        return found
    from ftjax.data.masks.tiles import tiled

    assert settings.image_size is not None  # the settings have refused it
    window = settings.image_size, settings.sliding, settings.window
    train, val = (tiled(split, *window) for split in splits[:2])
    return dataclasses.replace(found, train=train, val=val, whole=found)


def load_test(settings: DataSettings) -> Dataset:
    """A test set that nothing is trained on: the source's test split, or all that it holds.

    Where the source gives no test split it is the validation split, and where there is none
    either the whole. Nothing is drawn from it.

    Raises:
      UserError: for anything in the settings or the data that cannot be used.
    """
    return test_of(read_source(settings), settings)


def test_of(parts: Parts, settings: DataSettings) -> Dataset:
    """As `load_test`, of what a source gave."""
    given = parts.given
    name = next(split for split in ('test', 'val', 'train') if split in given)
    return _finish(given[name], name if name != 'train' else 'whole', settings)


def _per_class(
    train: Dataset,
    given: Dataset | None,
    split: str,
    seed: int,
    stream: int,
    settings: DataSettings,
    notes: list[str],
) -> tuple[Dataset, Dataset]:
    """(training examples, so many of each class of a split): of training's if none are given."""
    key = f'data.{split}_per_class'
    pool = train if given is None else given
    rest, held = hold_out_per_class(
        pool, getattr(settings, f'{split}_per_class'), seed, stream, key
    )
    if given is not None and len(rest):
        which = {'val': 'validation'}.get(split, split)
        notes.append(_kept(len(held), len(pool), which, key, settings))
    lost = len(pool) - len(rest) - len(held)
    if given is None and lost:
        notes.append(
            f'{lost:,} training examples are left out: the rest of their groups is in the {split} '
            f'split ({key}={getattr(settings, key.removeprefix("data."))})'
        )
    return (rest if given is None else train), held


def _kept(count: int, every: int, which: str, setting: str, settings: DataSettings) -> str:
    value = getattr(settings, setting.removeprefix('data.'))
    return (
        f'few-shot: {count:,} of {every:,} {which} examples are used ({setting}={value}); '
        f'--config.{setting}=None uses all'
    )


def _cut(
    train: Dataset, whole: int, fraction: float, seed: int, stream: int
) -> tuple[Dataset, Dataset]:
    count = round(whole * fraction)
    if fraction and not count:
        raise UserError(
            f'{train.name}: {whole} examples are too few to hold out {fraction:g} of them'
        )
    return hold_out(train, count, seed, stream)


def _check_classes(train: Dataset) -> None:
    for name in train.class_names:
        check_class_name(name, train.name)
    train.label_kind.check_training(train.name, train.labels, train.class_names)


def _check_columns(parts: Parts, settings: DataSettings) -> None:
    """Refuses settings on columns where the source reads none, or not these."""
    read = COLUMN_KEYS if parts.reads is None else parts.reads
    for key in COLUMN_KEYS:
        if getattr(settings, key) and key not in read:
            raise UserError(
                f'data.{key} speaks of a table (CSV, JSONL, a frame); data.source '
                f'{settings.source!r} does not read it: leave it out'
            )


def _finish(split: Dataset, name: str, settings: DataSettings) -> Dataset:
    split = dataclasses.replace(split, name=f'{settings.source} {name}')
    if split.kind == 'text':
        packed = settings.packing and name == 'train'
        split = dataclasses.replace(split, max_length=settings.max_length, packed=packed)
    if split.kind == 'image' and settings.channels:
        split = dataclasses.replace(split, inputs=match_channels(split.inputs, settings.channels))
    return corrupt(split, settings.corruption)
