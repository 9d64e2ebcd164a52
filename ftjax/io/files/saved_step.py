"""One checkpoint on disk, RUN/checkpoints/STEP: a manifest, and arrays that Orbax keeps.

Orbax stores each item's arrays by number. The manifest says which number is which leaf, and holds
a SHA-256 of each array and one of itself: Orbax does not notice a flipped bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ftjax.errors import UserError, shown
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.files.regular_files import open_regular, read_bytes
from ftjax.io.json.json_reader import WIDE, parse_json, read_object
from ftjax.io.json.tree_json import array_hash, json_hash, path_of, unpack

MANIFEST = pathlib.Path('manifest') / 'metadata'
_log = logging.getLogger(__name__)
FORMATS = (1, 2)
"""In 2 there are arrays of which each process wrote its part, hashed part by part."""
_ITEM = re.compile(r'[A-Za-z]\w*', re.ASCII)


class DamagedError(UserError):
    """A checkpoint that does not hold what was saved."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """Where an array of a checkpoint is, and its hash."""

    item: str
    number: str
    sha256: str


def make_manifest(
    step: int,
    items: Mapping[str, object],
    hashes: Mapping[str, Mapping[str, str]],
    identity: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The manifest as JSON, of skeletons as `pack` gives them and the hashes of their arrays."""
    parts = any(':' in text for found in hashes.values() for text in found.values())
    manifest = {
        'format': FORMATS[parts],
        'step': int(step),
        'metrics': {'dict': {}},  # earlier versions read a rank here
        'items': dict(items),
        'hashes': {name: dict(found) for name, found in hashes.items()},
        **({} if identity is None else {'identity': to_jsonable(dict(identity))}),
    }
    return {**manifest, 'sha256': json_hash(manifest)}


class SavedStep:
    """A checkpoint: what its manifest tells, and its arrays when they are asked for."""

    step: int
    identity: dict[str, object] | None = None
    """None in those of an earlier version."""
    items: dict[str, Any]
    """By name; nested dicts and lists of numbers and text, with `Stored` where arrays are."""
    problems: dict[int, str]
    """One line for each damaged checkpoint that was passed over to get to this one, by step."""

    def __init__(self, folder: pathlib.Path):
        """Reads the manifest.

        Raises:
          DamagedError: it is missing, no JSON, or not what was written.
          UserError: a later version of ftjax wrote it.
        """
        self.folder = folder.absolute()
        path = self.folder / MANIFEST
        try:
            data = read_bytes(path, WIDE.size)
        except OSError as error:
            raise self.damaged(f'it has no manifest ({error.strerror or error})') from error
        try:
            manifest = parse_json(data, str(path), WIDE)
            intact = manifest.pop('sha256') == json_hash(manifest)
            later = type(manifest['format']) is int and manifest['format'] > FORMATS[-1]
            if intact and not later:
                self._take(manifest)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise self.damaged('its manifest is none of ours') from error
        if not intact:
            raise self.damaged('its manifest is not what was saved (hash differs)')
        if later:
            told = shown(manifest['format'])
            raise UserError(f'{path}: format {told}; this version reads {FORMATS[-1]}')

    def _take(self, manifest: Mapping[str, Any]) -> None:
        """Unpacks the manifest; whoever writes one can compute its hash too."""
        self.step, self.problems, identity = manifest['step'], {}, manifest.get('identity')
        if type(self.step) is not int or self.step != int(self.folder.name):
            raise ValueError('another step')
        self.identity, self.items = identity if isinstance(identity, dict) else None, {}
        for name, skeleton in manifest['items'].items():
            if not _ITEM.fullmatch(name):  # the arrays lie in a folder of this name
                raise ValueError(f'an item {name!r}')
            hashes = manifest['hashes'][name]
            stored = {number: Stored(name, number, sha) for number, sha in hashes.items()}
            self.items[name] = unpack(skeleton, stored)

    def load(self) -> SavedStep:
        """Puts arrays, read and checked, in the place of every `Stored`; returns itself.

        Raises:
          DamagedError: an array is missing or differs; it is named by its path in the tree.
        """
        flat = jax.tree_util.tree_leaves_with_path(self.items)
        stored = [(path_of(keys), leaf) for keys, leaf in flat if isinstance(leaf, Stored)]
        read = iter(self.arrays(stored))
        self.items = jax.tree.map(lambda x: next(read) if isinstance(x, Stored) else x, self.items)
        return self

    def arrays(self, wanted: Sequence[tuple[str, Stored]]) -> list[np.ndarray]:
        """Arrays in host memory, of (path for messages, place) each.

        Raises:
          DamagedError: one is missing or is not what was saved.
        """
        read: dict[str, dict[str, object]] = {}
        for item in sorted({leaf.item for _, leaf in wanted}):
            numbers = [leaf.number for _, leaf in wanted if leaf.item == item]
            with self._reader(item) as (ocp, reader):
                args = ocp.args.PyTreeRestore(
                    item=dict.fromkeys(numbers, 0),
                    restore_args=dict.fromkeys(numbers, ocp.RestoreArgs(restore_type=np.ndarray)),
                    partial_restore=True,
                )
                read[item] = reader.restore(self.folder / item, args=args)
        found = []
        for path, leaf in wanted:
            array = read[leaf.item].get(leaf.number)
            if not isinstance(array, np.ndarray):
                raise self.damaged(f'{path} is missing')
            if array_hash(array, leaf.sha256.rpartition(':')[0]) != leaf.sha256:
                raise self.damaged(f'{path} is not what was saved (hash differs)')
            found.append(array)
        return found

    def headers(self, item: str) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
        """Dtype and shape of an item's arrays by number, as Orbax states them."""
        with self._reader(item) as (_, reader):
            tree = reader.metadata(self.folder / item).item_metadata.tree
            return {key: (np.dtype(x.dtype), tuple(x.shape)) for key, x in tree.items()}

    def damaged(self, why: str) -> DamagedError:
        """The error that says so, with the folder."""
        return DamagedError(f'checkpoint {self.folder} is damaged: {why}')

    @contextlib.contextmanager
    def _reader(self, item: str) -> Iterator[tuple[Any, Any]]:
        """Orbax, and its reader; whatever it raises becomes one line."""
        try:
            for file in (self.folder / item).rglob('*'):
                # Orbax would wait for a pipe, and reads its own JSON without limits.
                if not file.is_dir():
                    open_regular(file).close()
                if file.name == '_METADATA':
                    read_object(file)
            ocp = orbax()
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**alone()), **alone()) as reader:
                yield ocp, reader
        except (DamagedError, MemoryError):
            raise
        except Exception as error:
            text = ' '.join(str(error).split())
            raise self.damaged(f'{item}: {type(error).__name__}: {text[:200]}') from error


def steps_in(folder: pathlib.Path) -> tuple[int, ...]:
    """The steps of a folder's checkpoints in order, damaged ones included; () without a folder."""
    names = [path.name for path in folder.glob('*') if path.is_dir()]
    return tuple(sorted(int(name) for name in names if name.isdecimal()))


def restored(folder: pathlib.Path, step: int | None = None) -> SavedStep:
    """Reads the last checkpoint of a folder, or that of a step; every leaf is checked.

    A damaged one is named in a warning and in `problems`, and the last that is whole is used.

    Raises:
      UserError: there is none, the step asked for is not there, or all are damaged.
    """
    steps, problems = steps_in(folder), {}
    if not steps or (step is not None and step not in steps):
        of, there = f' of step {step}' if step is not None else '', ', '.join(map(str, steps))
        raise UserError(f'no checkpoint{of} in {folder}; there: {there or "none"}')
    for tried in sorted(steps, key=lambda one: (one == step, one), reverse=True):
        try:
            saved = SavedStep(folder / str(tried)).load()
        except DamagedError as error:
            problems[tried] = str(error)
            _log.warning('%s', error)
            continue
        if problems:
            _log.warning('the checkpoint of step %d is used instead', tried)
        saved.problems = problems
        return saved
    raise UserError('no checkpoint can be used: ' + '; '.join(problems.values()))


def alone() -> dict[str, Any]:
    """Options with which this process of several reads or writes without a word to the others."""
    if not jax.distributed.is_initialized() or jax.process_count() == 1:
        return {}
    me = jax.process_index()
    options = orbax().options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f'process_{me}'
    )
    return {'multiprocessing_options': options}


@functools.cache
def orbax() -> Any:
    """The module `orbax.checkpoint`, whose threads no longer print what is raised here too."""
    import orbax.checkpoint as ocp

    logging.getLogger('absl').addFilter(lambda record: 'orbax' not in record.pathname)
    logging.getLogger('asyncio').addFilter(lambda record: 'never retrieved' not in str(record.msg))
    hook = sys.unraisablehook

    def filtered(unraisable: Any) -> None:
        if 'Event loop is closed' not in str(unraisable.exc_value):
            hook(unraisable)

    sys.unraisablehook = filtered
    return ocp
