"""One checkpoint of a run, RUN/checkpoints/STEP: what training has changed so far.

Orbax stores each item's arrays by number; a manifest beside them says which number is which
leaf, and holds a SHA-256 of each array and one of itself. Read are the trainable leaves (their
moving average, where the run keeps one), those that trained in earlier phases, and running
statistics; the optimizer's state is left where it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ftjax.errors import UserError, shown
from ftjax.io.json_reader import WIDE, read_object
from ftjax.io.json_values import Kind, Table, Text, check
from ftjax.io.regular_files import open_regular
from ftjax.pretrained.readers.tensor_source import Header, TensorSource

MANIFEST = pathlib.Path('manifest') / 'metadata'
METADATA = '_METADATA'  # Orbax's own
FORMAT = 1
_KINDS: dict[str, Kind] = {
    'items': Table(),
    'hashes': Table(of=Table(of=Text())),
    'metrics': Table(),
}


class OrbaxStep(TensorSource):
    """Leaves of one checkpoint by key, 'params/head/dense/kernel'."""

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path).absolute()
        manifest = read_manifest(self.path)
        self._places = _places(manifest['items'])
        self._hashes = manifest['hashes']
        arrays: dict[str, Any] = {}
        for item in sorted({item for item, _ in self._places.values()}):
            check(self._hashes.get(item), f'{self.path}: the hashes of {item}', Table())
            _check_files(self.path / item)
            with self._asking(item) as orbax:
                arrays[item] = orbax.metadata(self.path / item).item_metadata.tree
        self.headers = {}
        for key, (item, number) in self._places.items():
            if number not in arrays[item]:
                raise UserError(f'{self.path}: {key} is missing')
            found = arrays[item][number]
            self.headers[key] = Header(np.dtype(found.dtype), tuple(found.shape))

    def read(self, name: str) -> np.ndarray:
        """One leaf; UserError if it is not what was saved."""
        import orbax.checkpoint as ocp

        item, number = self._places[name]
        wanted = ocp.args.PyTreeRestore(
            item={number: 0},
            restore_args={number: ocp.RestoreArgs(restore_type=np.ndarray)},
            partial_restore=True,
        )
        with self._asking(name) as orbax:
            found = np.ascontiguousarray(orbax.restore(self.path / item, args=wanted)[number])
        # As training wrote it: over dtype, shape and bytes.
        digest = hashlib.sha256(f'{found.dtype.name}{found.shape}'.encode())
        digest.update(found.reshape(-1).view(np.uint8).data)
        if digest.hexdigest() != self._hashes[item].get(number):
            raise UserError(f'{self.path}: {name} is not what was saved (hash differs)')
        return found

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[Any]:
        """Orbax's reader; whatever it raises becomes one line that names `what`."""
        import orbax.checkpoint as ocp

        log = logging.getLogger('absl')
        level = log.level
        log.setLevel(logging.CRITICAL)  # it warns of files that items of a manager never have
        try:
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as orbax:
                yield orbax
        except (UserError, MemoryError):
            raise
        except Exception as error:
            sys.unraisablehook = _without_loops(sys.unraisablehook)
            text = ' '.join(str(error).split())
            raise UserError(f'{self.path}: {what} is damaged ({text[:200]})') from error
        finally:
            log.setLevel(level)


def _check_files(folder: pathlib.Path) -> None:
    """Refuses pipes and devices, which Orbax would wait for, and JSON beyond the limits."""
    for file in folder.rglob('*'):
        if not file.is_dir():
            try:
                open_regular(file).close()
            except OSError as error:
                raise UserError(f'{file}: {error.strerror or error}') from None
        if file.name == METADATA:
            read_object(file)


def _without_loops(hook: Callable[[Any], Any]) -> Callable[[Any], None]:
    """A hook that leaves out what Orbax's threads complain of after a failure, much later."""

    def filtered(unraisable: Any) -> None:
        if 'Event loop is closed' not in str(unraisable.exc_value):
            hook(unraisable)

    return filtered


def read_manifest(step: pathlib.Path) -> dict[str, Any]:
    """The manifest of a checkpoint; UserError if it is missing, damaged or of another format."""
    path = step / MANIFEST
    if not path.exists():
        raise UserError(f'{step} is no checkpoint of a run: it has no {MANIFEST}')
    try:
        manifest = read_object(path, WIDE)
    except UserError as error:
        raise UserError(f'{path} is damaged ({error})') from None
    stated = manifest.pop('sha256', None)
    text = json.dumps(manifest, sort_keys=True, separators=(',', ':'))
    if hashlib.sha256(text.encode()).hexdigest() != stated:
        raise UserError(f'{path} is damaged: its hash differs')
    if manifest.get('format') != FORMAT:
        raise UserError(
            f'{path}: format {shown(manifest.get("format"))}; this version reads {FORMAT}'
        )
    # Whoever writes a manifest can compute its hash too.
    for name, kind in _KINDS.items():
        check(manifest.get(name), f'{path}: {name}', kind)
    return manifest


def _places(items: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Key -> (item, number of the array); what comes later in this list wins."""
    found: dict[str, tuple[str, str]] = {}
    for item, collection, part in (
        ('closed', 'params', 'params'),
        ('closed', 'batch_stats', 'stats'),
        ('state', 'params', 'trainable'),
        ('state', 'params', 'ema'),
        ('state', 'batch_stats', 'stats'),
    ):
        for path, node in inside(inside(items.get(item)).get(part)).items():
            if isinstance(node, dict) and isinstance(node.get('array'), str):
                found[f'{collection}/{path}'] = (item, node['array'])
    return found


def inside(node: Any) -> dict[str, Any]:
    """The entries of a packed dict, still packed; {} for anything else."""
    found = node.get('dict') if isinstance(node, dict) else None
    return found if isinstance(found, dict) else {}


def unpacked(node: Any) -> Any:
    """Packed dicts of numbers and text as they were; anything else as it is."""
    if not isinstance(node, dict) or not isinstance(node.get('dict'), dict):
        return node
    return {key: unpacked(item) for key, item in node['dict'].items()}
