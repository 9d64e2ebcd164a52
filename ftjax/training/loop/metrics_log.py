"""Logs that survive a kill: one JSON line a write, a torn last line repaired on reopening."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ftjax.io.files.atomic import to_jsonable
from ftjax.io.json.jsonl import JsonLines, read_jsonl, rewrite
from ftjax.registry import parse

METRICS = 'metrics.jsonl'
MEMBER = 'run_{}'
"""Folder of one of several runs whose weights are averaged, in that of all."""


def read_history(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """A dict a validation of the run in a folder; [] where there is no log.

    Where the weights of several runs were averaged, each has its own: those of the first are read.
    """
    logs = [pathlib.Path(folder) / inside / METRICS for inside in ('', MEMBER.format(0))]
    return next((read_jsonl(log) for log in logs if log.exists()), [])


class MetricsLog:
    """`metrics.jsonl` of a run and, on request, other loggers.

    >>> import tempfile
    >>> from ftjax.io.json.jsonl import read_jsonl
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
        rows: Sequence[Mapping[str, object]] | None = None,
        loggers: Sequence[str] = (),
    ):
        """Opens the log of the run in `folder`.

        Args:
          folder: the run's folder.
          resume_step: the last step that a continued run has logged, for other loggers.
          rows: what the file is to hold: an interrupted run may have written more after its last
            checkpoint, and the continued one writes it again. None for what it holds.
          loggers: others that take the numbers, as `train.loggers` names them.
        """
        path = pathlib.Path(folder) / METRICS
        if rows is not None:
            rewrite(path, rows)
        self._lines = JsonLines(path)
        where = pathlib.Path(folder)
        self._others = [parse('logger', text)(where, resume_step) for text in loggers]

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Logs `values` (numbers, or anything JSON can hold) of a step, counted from 1."""
        row = {'step': int(step), **values}
        self._lines.append(row)
        if self._others:
            found = to_jsonable(dict(values)).items()
            numbers = {name: value for name, value in found if isinstance(value, (int, float))}
            for other in self._others:
                other.write(int(step), numbers)

    def close(self) -> None:
        """Syncs and closes all."""
        self._lines.close()
        for other in self._others:
            other.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
