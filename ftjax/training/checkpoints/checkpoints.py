"""Checkpoints of a run: whole or not there, written while training goes on; best and last stay.

Orbax writes the arrays in the background, to a temporary folder that is renamed at the end. Its own
call, which looks at every leaf, is made from a thread too: training waits for the copies alone.
What Orbax does not notice, a flipped bit for instance, is found by the hashes in a manifest: see
ftjax/io/files/saved_step.py.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.distributed import process_group
from ftjax.errors import UserError
from ftjax.io.files.owned_files import check_way
from ftjax.io.files.saved_step import SavedStep, make_manifest, restored, steps_in
from ftjax.io.json.tree_json import pack
from ftjax.training.checkpoints import step_folders

_log = logging.getLogger(__name__)
KEEP = 2
"""How many of the last stay beside the best: there is one to fall back on."""


class Checkpoints(contextlib.AbstractContextManager):
    """A folder of checkpoints, one subfolder a step; opened by all processes of a run.

    >>> import tempfile
    >>> import numpy as np
    >>> state = {'params': {'head/kernel': np.ones((2, 3), np.float32)}, 'data': {'epoch': 1}}
    >>> with Checkpoints(tempfile.mkdtemp()) as checkpoints:
    ...     checkpoints.save(10, state)
    ...     saved = checkpoints.restore()
    >>> saved.step, saved.items['data'], saved.items['params']['head/kernel'].shape
    (10, {'epoch': 1}, (2, 3))
    """

    def __init__(self, folder: str | os.PathLike[str], shared: bool = False):
        """Makes the folder if need be; UserError where that, or writing to it, is impossible.

        With `shared`, arrays are shared out over processes: each writes its parts, if all see the
        folder. Otherwise the first process alone writes.
        """
        self.folder = pathlib.Path(folder).absolute()
        if process_group.first():
            step_folders.prepare(self.folder)
        self.together = shared and step_folders.seen_by_all(self.folder)
        self._saver: Any = None  # Orbax's, from the first save on
        self._thread: concurrent.futures.ThreadPoolExecutor | None = None
        self._written: concurrent.futures.Future[None] | None = None
        self._under_way: tuple[int, int | None] | None = None
        self._copies: dict[str, dict[str, object]] = {}  # of the last save, for the next one

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of all checkpoints that are written, damaged ones included, in order."""
        self.wait()
        return steps_in(self.folder)

    def save(
        self,
        step: int,
        items: Mapping[str, object],
        best: int | None = None,
        identity: Mapping[str, object] | None = None,
    ) -> None:
        """Copies a checkpoint's values and lets it be written; the next call raises what failed.

        Args:
          step: of training; a checkpoint of the same step is replaced.
          items: trees of arrays, numbers and text by item name ('params', 'opt_state', ..).
          best: the step whose checkpoint stays beside the last ones.
          identity: of which run and of which inputs it is, as plain JSON.

        Raises:
          UserError: the disk is full or cannot be written; earlier checkpoints are untouched.
        """
        self.wait()
        if not (self.together or process_group.first()):
            return
        from ftjax.training.checkpoints import writer  # it imports Orbax

        skeletons, arrays, before = {}, {}, self._copies
        for name, tree in items.items():
            skeletons[name], arrays[name] = pack(tree, before.get(name))
        self._copies = before | arrays
        place = self.folder / str(step)
        check_way(place, itself=True)
        with step_folders.guarded(self.folder, step):
            size = sum(leaf.nbytes for found in arrays.values() for leaf in found.values())
            step_folders.make_way(place, size)
            self._saver = self._saver or writer.background_saver(self.together)
            args = writer.hashed(arrays, lambda sha: make_manifest(step, skeletons, sha, identity))
            self._start(place, args)
        self._under_way = step, best

    def _start(self, place: pathlib.Path, args: Any) -> None:
        """Has a checkpoint written: by a thread, but where all processes must call in step."""
        if self.together:
            self._saver.save(place, args=args)
            return
        if self._thread is None:
            self._thread = concurrent.futures.ThreadPoolExecutor(1, 'checkpoints')
        self._written = self._thread.submit(self._write, place, args)

    def _write(self, place: pathlib.Path, args: Any) -> None:
        self._saver.save(place, args=args)
        self._saver.wait_until_finished()

    def wait(self) -> None:
        """Returns when the checkpoint that is under way is there; those not kept are removed."""
        if self._under_way is None:
            return
        step, best = self._under_way
        with step_folders.guarded(self.folder, step):
            try:
                if self._written is None:
                    self._saver.wait_until_finished()
                else:
                    self._written.result()
            except Exception:
                self._under_way = None
                raise
            # Not before: after an interrupt here its arrays are still being read.
            self._under_way = None
            check_way(self.folder, itself=True)
            if process_group.first():
                surplus = {*steps_in(self.folder)[:-KEEP]} - {best}
                step_folders.tidy(self.folder, surplus)

    def restore(self, step: int | None = None) -> SavedStep:
        """As `restored`; damaged checkpoints that were passed over are set aside."""
        self.wait()
        saved = restored(self.folder, step)
        for damaged in saved.problems:
            step_folders.set_aside(self.folder, damaged)
        return saved

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.wait()
        except UserError as failure:
            if error is None:
                raise
            _log.error('%s', failure)  # what ended the run matters more
        finally:
            if self._thread is not None:
                self._thread.shutdown()
            if self._saver is not None:
                with contextlib.suppress(Exception):  # `wait` has raised it
                    self._saver.close()
            self._thread = self._written = self._saver = None  # a later save begins anew
