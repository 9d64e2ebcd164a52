"""Checkpoints that are whole or not there: hashed per leaf, checked on reading, best and last.

Orbax writes the arrays, to a temporary folder that is renamed at the end, so that a kill
leaves the earlier checkpoints alone. What it does not notice, a flipped bit for instance, is
found here by the hashes in a manifest, which is hashed itself.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ftjax.errors import UserError, check_name
from ftjax.training.checkpoints.compatibility import Changes, compare, merge
from ftjax.training.checkpoints.manifest import NAME, DamagedError, make_manifest
from ftjax.training.checkpoints.orbax_io import open_manager
from ftjax.training.checkpoints.ranking import Ranking
from ftjax.training.checkpoints.reading import read_step, set_aside
from ftjax.training.checkpoints.saving import guarded_save, prepare_folder, quiet

__all__ = ['Changes', 'Checkpoints', 'Restored', 'compare', 'merge']

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Restored:
    """What `Checkpoints.restore` found."""

    step: int
    items: dict[str, Any]
    """As saved: nested dicts and lists with NumPy arrays, numbers and text."""
    metrics: dict[str, float]
    problems: tuple[str, ...] = ()
    """One line for each damaged checkpoint that was passed over to get to this one."""
    identity: dict[str, Any] | None = None
    """Of which run and of which inputs it is; None in those of an earlier version."""


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
        metric: str | None = None,
        mode: str = 'max',
        read_only: bool = False,
    ):
        """Opens the folder, and makes it if need be.

        Args:
          folder: where the checkpoints are, one subfolder a step.
          keep: how many of the last to keep, beside the best; two, so that there is one to
            fall back on when the last is damaged.
          metric: the key in `metrics` that decides which is best; None: none is.
          mode: 'max' or 'min': whether the best metric is the highest or the lowest.
          read_only: change nothing in the folder, whatever is found there; for evaluation
            beside a run that may still be writing.

        Raises:
          UserError: the folder cannot be made or written to, or (read only) is not there.
        """
        if keep < 1:
            raise UserError(f'checkpoints to keep: {keep}; expected at least 1')
        self.folder = pathlib.Path(folder).absolute()
        self.keep, self.read_only = keep, read_only
        self._ranking = Ranking(self.folder, metric, mode)
        if not read_only:
            prepare_folder(self.folder)
        elif not self.folder.is_dir():
            raise UserError(f'no checkpoints: there is no folder {self.folder}')
        with quiet():
            self._manager = open_manager(self.folder, read_only, self._staying)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps of all checkpoints, damaged ones included, in order."""
        # Read from the disk, because Orbax leaves out those that lack a file of its own.
        names = [path.name for path in self.folder.iterdir() if path.is_dir()]
        return tuple(sorted(int(name) for name in names if name.isdecimal()))

    @property
    def best_step(self) -> int | None:
        """The step with the best metric (the earliest of equals); None if none has it."""
        ranked = self._ranking.ranked(self.steps)
        return ranked[0] if ranked else None

    def _staying(self, steps: list[int]) -> set[int]:
        """The steps that are kept: the last ones and the best."""
        return {*steps[-self.keep :], *self._ranking.ranked(steps)[:1]}

    def save(
        self,
        step: int,
        items: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes one checkpoint and waits until it is there; then removes what is not kept.

        Args:
          step: of training; a checkpoint of the same step is replaced.
          items: trees of arrays, numbers and text by item name ('params', 'opt_state', ..).
          metrics: validation metrics at this step.
          identity: of which run and of which inputs it is, as plain JSON.

        Raises:
          UserError: the disk is full or cannot be written; earlier checkpoints are untouched.
          TypeError: something in `items` can be stored neither as an array nor as JSON.
        """
        import orbax.checkpoint as ocp

        if self.read_only:
            raise UserError(f'{self.folder} was opened to be read only')
        step = int(step)
        manifest, arrays = make_manifest(step, items, metrics or {}, identity)
        args: dict[str, Any] = {
            name: ocp.args.PyTreeSave(found) for name, found in arrays.items() if found
        }
        size = sum(array.nbytes for found in arrays.values() for array in found.values())
        with guarded_save(self.folder, step, size):
            self._manager.reload()
            self._ranking.forget(step)
            args[NAME] = ocp.args.JsonSave(manifest)
            self._manager.save(step, args=ocp.args.Composite(**args), force=True)

    def restore(
        self, which: int | str | None = None, only: Sequence[str] | None = None
    ) -> Restored:
        """Reads a checkpoint and checks every leaf against its hash.

        Args:
          which: a step, 'last' (the same as None) or 'best'. A damaged last or best one is
            named in a warning and in `problems`, set aside as `damaged-STEP`, and the next
            in order is used.
          only: names of the items to read; None for all.

        Raises:
          UserError: there is none; the step asked for is not there or is damaged; all are
            damaged; or an item in `only` was not saved.
        """
        problems: list[str] = []
        damaged: list[int] = []
        with quiet():
            self._manager.reload()
        for step in self._order(which):
            try:
                items, metrics, identity = read_step(self._manager, self.folder, step, only)
            except DamagedError as error:
                damaged.append(step)
                problems.append(f'checkpoint {self.folder / str(step)} is damaged: {error}')
                _log.warning('%s', problems[-1])
                continue
            if problems:
                _log.warning('the checkpoint of step %d is used instead', step)
                self._set_aside(damaged)
            return Restored(step, items, metrics, tuple(problems), identity)
        if problems:
            raise UserError('no checkpoint can be used: ' + '; '.join(problems))
        raise UserError(f'no checkpoint in {self.folder}')

    def close(self) -> None:
        """Releases Orbax's threads."""
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
            order = [step for step in steps if self._ranking.metrics(step) is None]
            order += self._ranking.ranked(steps)
        return order + [step for step in reversed(steps) if step not in order]

    def _set_aside(self, steps: Sequence[int]) -> None:
        """Renames damaged checkpoints, so that a run can write these steps again."""
        if self.read_only:
            return
        for step in steps:
            set_aside(self.folder, step)
            self._ranking.forget(step)
        with quiet():
            self._manager.reload()
