"""Checkpoints that are whole or not there, written while training goes on; best and last stay.

Orbax writes the arrays in the background, to a temporary folder that is renamed at the end, so
that a kill leaves the earlier checkpoints alone. What it does not notice, a flipped bit for
instance, is found by the hashes in a manifest: see ftjax/io/files/saved_step.py.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.distributed import process_group
from ftjax.errors import UserError, check_name
from ftjax.io.files.owned_files import check_way
from ftjax.io.files.saved_step import (
    MANIFEST,
    DamagedError,
    SavedStep,
    best_first,
    check_item,
    make_manifest,
    orbax,
    steps_in,
)
from ftjax.io.json.tree_json import array_hash, pack
from ftjax.training.checkpoints import guards
from ftjax.training.checkpoints.parts import part_hashes

_log = logging.getLogger(__name__)


class Checkpoints:
    """A folder of checkpoints by step, of which the last ones and the best are kept.

    >>> import tempfile
    >>> state = {'params': {'head/kernel': np.ones((2, 3), np.float32)}, 'data': {'epoch': 1}}
    >>> with Checkpoints(tempfile.mkdtemp(), metric='accuracy') as checkpoints:
    ...     checkpoints.save(10, state, metrics={'accuracy': 0.5})
    ...     restored = checkpoints.restore('best')
    >>> restored.step, restored.items['data'], restored.items['params']['head/kernel'].shape
    (10, {'epoch': 1}, (2, 3))
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep: int = 2,
        metric: str = 'rank',
        read_only: bool = False,
        together: bool = False,
    ):
        """Opens the folder, and makes it if need be.

        Args:
          folder: where the checkpoints are, one subfolder a step.
          keep: how many of the last to keep, beside the best; two, so that there is one to
            fall back on when the last is damaged.
          metric: the key in `metrics` of which the highest is best.
          read_only: change nothing in the folder, whatever is found there; for evaluation
            beside a run that may still be writing.
          together: whether all processes of the run save together, each its parts of the arrays.

        Raises:
          UserError: the folder cannot be made or written to, or (read only) is not there.
        """
        if keep < 1:
            raise UserError(f'checkpoints to keep: {keep}; expected at least 1')
        self.folder = pathlib.Path(folder).absolute()
        self.keep, self.metric, self.read_only, self.together = keep, metric, read_only, together
        self._saver: Any = None  # Orbax's, from the first save on
        self._under_way: int | None = None
        if not read_only and process_group.first():
            guards.prepare_folder(self.folder)
        elif not self.folder.is_dir():
            raise UserError(f'no checkpoints: there is no folder {self.folder}')

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of all checkpoints that are written, damaged ones included, in order."""
        self.wait()
        return steps_in(self.folder)

    @property
    def best_step(self) -> int | None:
        """The step with the best metric (the earliest of equals); None if none has it."""
        return next(iter(self._best_first(self.steps)), None)

    def save(
        self,
        step: int,
        items: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        """Copies a checkpoint's values and lets it be written; then what is not kept is removed.

        The next call, `wait`, `restore` or `close` raises what goes wrong meanwhile.

        Args:
          step: of training; a checkpoint of the same step is replaced.
          items: trees of arrays, numbers and text by item name ('params', 'opt_state', ..).
          metrics: validation metrics at this step.
          identity: of which run and of which inputs it is, as plain JSON.

        Raises:
          UserError: the disk is full or cannot be written; earlier checkpoints are untouched.
          TypeError: something in `items` can be stored neither as an array nor as JSON.
        """
        if self.read_only:
            raise UserError(f'{self.folder} was opened to be read only')
        self.wait()
        step, metrics, skeletons, arrays = int(step), dict(metrics or {}), {}, {}
        for name, tree in items.items():
            check_item(name)
            skeletons[name], arrays[name] = pack(tree)
        parts = part_hashes(arrays)

        def manifest() -> dict[str, Any]:
            hashes = {
                name: {n: parts.get((name, n)) or array_hash(leaf) for n, leaf in found.items()}
                for name, found in arrays.items()
            }
            return make_manifest(step, skeletons, hashes, metrics, identity)

        save = orbax().args
        args = {name: save.PyTreeSave(found) for name, found in arrays.items() if found}
        args[MANIFEST.parts[0]] = save.JsonSave(manifest)
        check_way(self.folder / str(step), itself=True)
        with self._guarded(step):
            size = sum(leaf.nbytes for found in arrays.values() for leaf in found.values())
            guards.check_room(self.folder, size)
            self._put_away(step)
            if self._saver is None:
                from ftjax.training.checkpoints.writer import background_saver  # it imports Orbax

                self._saver = background_saver(self.together)
            self._saver.save(self.folder / str(step), args=save.Composite(**args))
        self._under_way = step

    def wait(self) -> None:
        """Returns when the checkpoint that is under way, if one is, is there.

        Raises:
          UserError: the disk is full or cannot be written; earlier checkpoints are untouched.
        """
        step, self._under_way = self._under_way, None
        if step is not None:
            with self._guarded(step):
                self._saver.wait_until_finished()
                check_way(self.folder, itself=True)
                if process_group.first():
                    guards.put_back(self.folder)
                    steps = steps_in(self.folder)
                    stay = {*steps[-self.keep :], *self._best_first(steps)[:1]}
                    guards.remove(self.folder, {*steps} - stay)

    def restore(self, which: int | str | None = None) -> SavedStep:
        """Reads a checkpoint and checks every leaf against its hash.

        Args:
          which: a step, 'last' (the same as None) or 'best'. A damaged last or best one is
            named in a warning and in `problems`, set aside as `damaged-STEP`, and the next
            in order is used.

        Raises:
          UserError: there is none; the step asked for is not there or is damaged; or all are
            damaged.
        """
        damaged: dict[int, str] = {}
        for step in self._order(which):
            try:
                saved = SavedStep(self.folder / str(step)).load()
            except DamagedError as error:
                damaged[step] = str(error)
                _log.warning('%s', error)
                continue
            if damaged:
                _log.warning('the checkpoint of step %d is used instead', step)
            for bad in damaged if not self.read_only else ():
                guards.set_aside(self.folder, bad)
            saved.problems = tuple(damaged.values())
            return saved
        if damaged:
            raise UserError('no checkpoint can be used: ' + '; '.join(damaged.values()))
        raise UserError(f'no checkpoint in {self.folder}')

    def close(self) -> None:
        """Waits for what is under way, and releases Orbax's threads."""
        try:
            self.wait()
        finally:
            self._release()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.close()
        except UserError as failure:
            if error is None:
                raise
            _log.error('%s', failure)  # what ended the run matters more

    @contextlib.contextmanager
    def _guarded(self, step: int) -> Iterator[None]:
        """Whatever fails inside, the folder holds whole checkpoints afterwards."""
        try:
            yield
        except Exception as error:
            self._release()
            check_way(self.folder, itself=True)  # whoever took it meanwhile is named, not hindered
            if process_group.first():
                guards.clear_failed(self.folder)
            raise guards.explained(error, self.folder, step) from error

    def _put_away(self, step: int) -> None:
        """Makes way where a checkpoint of that step is there."""
        if not (self.folder / str(step)).exists():
            return
        if self.together:
            process_group.wait('checkpoint to be replaced')
        if process_group.first():
            guards.put_away(self.folder, step)
        if self.together:
            process_group.wait('checkpoint put away')

    def _release(self) -> None:
        saver, self._saver = self._saver, None
        if saver is not None:
            with contextlib.suppress(Exception):  # `wait` has raised it
                saver.close()

    def _order(self, which: int | str | None) -> list[int]:
        """The steps to try, in turn."""
        steps = self.steps
        if isinstance(which, (int, np.integer)):
            if which not in steps:
                there = ', '.join(map(str, steps)) or 'none'
                raise UserError(f'no checkpoint of step {which} in {self.folder}; there: {there}')
            return [int(which)]
        check_name(which or 'last', ('last', 'best'), 'checkpoint')
        order: list[int] = []
        if which == 'best':
            # One whose manifest is damaged may have been the best: it comes first, to be named.
            order = [step for step in steps if self._rank(step) is None] + self._best_first(steps)
        return order + [step for step in reversed(steps) if step not in order]

    def _best_first(self, steps: Sequence[int]) -> list[int]:
        return best_first({step: self._rank(step) for step in steps})

    def _rank(self, step: int) -> float | None:
        """The metric of a checkpoint, NaN where it has none; None if its manifest is damaged."""
        try:
            return SavedStep(self.folder / str(step)).metrics.get(self.metric, math.nan)
        except UserError:
            return None
