"""Logs that survive a kill: one JSON line a write, a torn last line repaired on reopening."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ftjax.errors import UserError
from ftjax.io.atomic import to_jsonable
from ftjax.io.jsonl import JsonLines, _drop_after, _rewrite


class MetricsLog:
    """`metrics.jsonl` of a run and, on request, its TensorBoard event file.

    >>> import tempfile
    >>> from ftjax.io.jsonl import read_jsonl
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with MetricsLog(folder) as log:
    ...     log.write(1, {'train/loss': 2.5})
    >>> read_jsonl(folder / 'metrics.jsonl')
    [{'step': 1, 'train/loss': 2.5}]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        resume_step: int | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
        tensorboard: bool = False,
    ):
        """Opens the log of the run in `folder`.

        Args:
          folder: the run's folder.
          resume_step: rows of later steps are dropped first: an interrupted run wrote them
            after its last checkpoint, and the continued one writes them again.
          rows: what the file is to hold, where that is known; it is written anew if it differs.
          tensorboard: also write an event file; needs tensorboardX.
        """
        path = pathlib.Path(folder) / 'metrics.jsonl'
        if rows is not None:
            _rewrite(path, rows)
        elif resume_step is not None:
            _drop_after(path, resume_step)
        self._lines = JsonLines(path)
        self._events = _event_writer(folder, resume_step) if tensorboard else None

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Logs `values` (numbers, or anything JSON can hold) of a step, counted from 1."""
        row = {'step': int(step), **values}
        self._lines.append(row)
        if self._events is not None:
            for name, value in to_jsonable(dict(values)).items():
                if isinstance(value, (int, float)):
                    self._events.add_scalar(name, value, int(step))

    def close(self) -> None:
        """Syncs and closes both files."""
        self._lines.close()
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _event_writer(folder: str | os.PathLike[str], resume_step: int | None):
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise UserError(
            "TensorBoard logs need tensorboardX: pip install 'ftjax[logging]', or switch them off"
        ) from None
    # purge_step tells TensorBoard to hide what an interrupted run logged past this step.
    purge = None if resume_step is None else resume_step + 1
    return SummaryWriter(os.fspath(folder), purge_step=purge)
