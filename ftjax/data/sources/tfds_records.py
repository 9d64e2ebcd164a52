"""TensorFlow Datasets read through random access, without TensorFlow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.data.dataset import Dataset
from ftjax.data.images.decode import decode
from ftjax.data.images.geometry import Geometry
from ftjax.data.images.modes import Whites
from ftjax.data.settings import DataSettings
from ftjax.data.sources.labels_of_texts import labels_of_texts
from ftjax.data.sources.registry import Parts
from ftjax.data.sources.split_names import SPLIT_NAMES
from ftjax.data.sources.tfds_labels import class_names_of, labels_of_splits, plain, text_of
from ftjax.data.user_paths import resolve_path
from ftjax.errors import UserError, check_name, did_you_mean
from ftjax.io.files.file_hashes import file_hashes

_PREPARE = (
    "prepare it once with the extra [tf]: tfds.builder('{name}', file_format='array_record')"
    '.download_and_prepare()'
)


class Records:
    """Some records of a prepared split; their images are decoded when asked for."""

    def __init__(
        self,
        source: Any,
        feature: str,
        positions: np.ndarray,
        signature: str,
        shards: tuple[str, ...] = (),
        keys: np.ndarray | None = None,
    ):
        """Records of a source.

        `shards` are the files that they lie in; `keys`, one of each record of the source, are
        equal for the same encoded bytes.
        """
        self._source, self._feature, self._positions = source, feature, positions
        self._origin, self._shards, self._keys = signature, shards, keys

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, indices: np.ndarray) -> Records:
        """The records at these positions, not yet read."""
        where = self._positions[indices]
        return Records(self._source, self._feature, where, self._origin, self._shards, self._keys)

    @property
    def keys(self) -> list[bytes] | None:
        """One of each record, equal for the same encoded bytes; None where nobody has made them."""
        return None if self._keys is None else self._keys[self._positions].tolist()

    @property
    def signature(self) -> str:
        """Which records of what these are, for the fingerprint; shards count by all their bytes."""
        shards = ' '.join(file_hashes(self._shards))
        return f'{self._origin} {self._feature} {self._positions.tolist()} {shards}'

    def image(
        self, index: int, geometry: Geometry, name: str, whites: Whites | None = None
    ) -> np.ndarray:
        """One image, uint8 (height, width, channels); UserError naming it if it is broken."""
        encoded = self._source[int(self._positions[index])][self._feature]
        return decode(encoded, geometry, name=name, whites=whites)


def read(argument: str, settings: DataSettings) -> Parts:
    """`NAME[/CONFIG][:SPLIT]`, where NAME may be the folder of a prepared data set.

    Without SPLIT the data set's own train, validation and test are used; with it (`train`,
    `train[:20%]`, ..) that is what gets split. A test split without labels counts as none.

    Raises:
      UserError: for an unknown name, split or feature, or data not prepared as array_record.
    """
    name, _, wanted = argument.partition(':')
    builder = _builder(name, settings)
    known = list(builder.info.splits)
    if not known:
        raise UserError(f'tfds {name!r} is not prepared in {builder.data_path}; {_how(name)}')
    if wanted:
        splits = {'train': wanted}
        check_name(wanted.partition('[')[0].partition('+')[0], [*known, 'all'], f'{name} split')
    else:
        splits = {SPLIT_NAMES[split]: split for split in known if split in SPLIT_NAMES}
        if not splits:
            raise UserError(f'tfds {name!r} has no train split; name one: {", ".join(known)}')
    features = builder.info.features
    label = _label_feature(name, builder.info, settings)
    content, kind = _input_feature(name, builder.info, settings)
    second = settings.text_pair_column
    texts_of = [key for key, feature in features.items() if type(feature).__name__ == 'Text']
    if second and (kind != 'text' or second not in texts_of or second == content):
        near = did_you_mean(second, [key for key in texts_of if key != content])
        raise UserError(f'tfds {name!r}: no text feature {second!r} for pairs; {near}')
    if settings.group_column and settings.group_column not in features:
        near = did_you_mean(settings.group_column, features)
        raise UserError(f'tfds {name!r}: no feature {settings.group_column!r} for groups; {near}')
    declared = class_names_of(features[label])
    found: dict[str, dict[str, Any]] = {}
    every: dict[str, tuple[str, list[Any]]] = {}
    for part, split in splits.items():
        where = f'tfds {name} {split}'
        source = _source(builder, name, split)
        texts, raw, keys, groups = [], [], [], []
        for record in source:
            raw.append(record[label])
            if settings.group_column:
                groups.append(str(plain(record[settings.group_column])))
            if kind == 'tfds':
                keys.append(key_of(record[content]))
            if kind == 'text':
                first = text_of(record[content])
                texts.append((first, text_of(record[second])) if second else first)
        if part == 'test' and raw and all(np.ndim(value) == 0 and value == -1 for value in raw):
            continue  # a competition's hidden labels
        signature = f'{builder.info.full_name} {split}'
        shards = tuple(map(str, builder.info.splits[split].filepaths))
        made = np.array(keys, object) if keys else None
        records = Records(source, content, np.arange(len(source)), signature, shards, made)
        every[part] = where, raw
        found[part] = {
            'name': where,
            'inputs': texts if kind == 'text' else records,
            'ids': [f'{split}/{i:07d}' for i in range(len(raw))],
            'groups': groups,
        }
    labels, class_names = labels_of_splits(every, declared, settings)
    if kind == 'text':
        texts = {part: own['inputs'] for part, own in found.items()}
        labels = labels_of_texts(
            settings.label_kind, texts, labels, lambda part, row: f'{found[part]["name"]} [{row}]'
        )
    parts = {
        part: Dataset(
            **own,
            kind=kind,
            labels=labels[part],
            class_names=class_names,
            task=settings.task,
            channels=settings.channels or _channels(features[content], kind),
            # What the data set declares, and not the range of each image by itself.
            whites=Whites(whole=65535) if _sixteen_bits(features[content], kind) else None,
        )
        for part, own in found.items()
    }
    return Parts(
        train=parts.get('train'),
        val=parts.get('val'),
        test=parts.get('test'),
        reads=('text_pair_column',),
        no_train=f'tfds {name!r} has no train split; name one: {", ".join(known)}',
    )


def key_of(encoded: bytes) -> bytes:
    """A key that is equal for the same bytes."""
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _builder(name: str, settings: DataSettings) -> Any:
    import tensorflow_datasets as tfds

    folder = resolve_path(name)
    try:
        if folder.is_dir():
            return tfds.builder_from_directory(str(folder))
        if name.startswith(('/', '.', '~', '$')):
            raise UserError(f'tfds: no folder {folder} with a prepared data set')
        return tfds.builder(
            name, data_dir=settings.data_dir or None, file_format='array_record', try_gcs=False
        )
    except UserError:
        raise
    except tfds.core.registered.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        near = did_you_mean(name.split('/')[0], known)
        if not near.startswith('did'):
            near = 'see tensorflow.org/datasets; a few are found only with the extra [tf]'
        raise UserError(f'tfds: no data set {name!r}; {near}') from error
    except Exception as error:
        base, _, config = name.partition('/')
        configs = [row.name for row in tfds.builder_cls(base).BUILDER_CONFIGS]
        if config and config.split(':')[0] not in configs:
            near = did_you_mean(config, configs)
            raise UserError(f'tfds {base!r} has no config {config!r}; {near}') from error
        raise UserError(f'tfds {name!r}: {_first_line(error)}; {_how(name)}') from error


def _source(builder: Any, name: str, split: str) -> Any:
    import tensorflow_datasets as tfds

    # Images stay encoded: Pillow decodes them later, in threads, at the size wanted.
    skip = {
        key: tfds.decode.SkipDecoding()
        for key, feature in builder.info.features.items()
        if type(feature).__name__ == 'Image'
    }
    try:
        return builder.as_data_source(split=split, decoders=skip or None)
    except NotImplementedError as error:
        raise UserError(f'tfds {name!r} is not stored as array_record; {_how(name)}') from error
    except Exception as error:  # its errors have no common type
        raise UserError(f'tfds {name!r} split {split!r}: {_first_line(error)}') from error


def _label_feature(name: str, info: Any, settings: DataSettings) -> str:
    features: Mapping[str, object] = info.features
    if settings.label_column in features:
        return settings.label_column
    classes = [key for key, f in features.items() if type(f).__name__ == 'ClassLabel']
    keys = info.supervised_keys
    found = [keys[1]] if keys and len(keys) == 2 else classes
    if settings.label_column != 'label' or len(found) != 1 or found[0] not in features:
        near = did_you_mean(settings.label_column, features)
        raise UserError(f'tfds {name!r}: no feature {settings.label_column!r} for labels; {near}')
    return found[0]


def _input_feature(name: str, info: Any, settings: DataSettings) -> tuple[str, str]:
    kinds = {'Image': 'tfds', 'Text': 'text'}
    usable = {
        key: kinds[type(feature).__name__]
        for key, feature in info.features.items()
        if type(feature).__name__ in kinds
    }
    asked = settings.text_column or settings.path_column
    keys = info.supervised_keys
    if asked:
        found = [asked]
    elif keys and keys[0] in usable:
        found = [keys[0]]
    else:
        found = [key for key in usable if usable[key] == 'tfds'] or list(usable)
    if len(found) != 1 or found[0] not in usable:
        near = f'images and texts in it: {", ".join(sorted(usable)) or "none"}'
        raise UserError(f'tfds {name!r}: which feature is the input? set data.text_column; {near}')
    return found[0], usable[found[0]]


def _channels(feature: Any, kind: str) -> int | None:
    return 1 if kind == 'tfds' and feature.shape[-1] == 1 else None


def _sixteen_bits(feature: Any, kind: str) -> bool:
    return kind == 'tfds' and np.dtype(getattr(feature, 'np_dtype', np.uint8)) == np.uint16


def _how(name: str) -> str:
    return _PREPARE.format(name=name)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip('.')
