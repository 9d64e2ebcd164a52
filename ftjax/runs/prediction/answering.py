"""Answers and embeddings of a trained network in Python."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ftjax.data.unlabelled.inputs import read_inputs
from ftjax.data.unlabelled.items import Found, Item, Unreadable
from ftjax.data.unlabelled.python_items import python_items
from ftjax.errors import UserError, at_row
from ftjax.io.json.json_values import JsonObject
from ftjax.runs.prediction.answer_options import answer_options
from ftjax.runs.prediction.new_inputs import Outputs, outputs_of
from ftjax.runs.prediction.trained import Trained


@dataclasses.dataclass(frozen=True)
class Answers:
    """Of some inputs, in their order."""

    rows: list[dict[str, Any]]
    """One an input: `id`, `predicted`, .. : what its task answers."""
    outputs: np.ndarray
    """float32 (n, ..): the outputs of the head."""
    failed: tuple[Unreadable, ...]
    """Inputs that could not be read, and are in neither."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]

    @property
    def predicted(self) -> list[object]:
        """What is predicted of each input.

        Raises:
          UserError: the task predicts nothing, as one of vectors: see `rows` and `outputs`.
        """
        if self.rows and 'predicted' not in self.rows[0]:
            told = ', '.join(list(self.rows[0])[1:4])
            raise UserError(f'the task predicts no value: see `outputs`, and {told}, .. of `rows`')
        return [row['predicted'] for row in self.rows]


def answers_to(trained: Trained, x: Any, options: JsonObject, **how: Any) -> Answers:
    """What a network answers; `options` as of `answer_options`, `how` as of `outputs_of`.

    Raises:
      UserError: nothing could be read; no head; options that mean nothing for the task.
    """
    chosen, _ = answer_options(trained, **options)
    failed: list[Unreadable] = []
    parts = list(outputs_of(trained, _found(trained, x), failed.append, **how))
    _check_some(parts, failed)
    rows = [row for part in parts for row in part.rows(trained, chosen)]
    return Answers(rows, np.concatenate([part.values for part in parts]), tuple(failed))


def features_of(trained: Trained, x: Any, stage: str | None = None, **how: Any) -> np.ndarray:
    """float32 (n, width): the embedding of each input; of the last stage before the head if None.

    Raises:
      UserError: an input cannot be read (none may be left out: rows are by position); no such
        stage.
    """
    failed: list[Unreadable] = []
    stages = trained.network.stages
    stage = stage or (stages[-2] if 'head' in stages else stages[-1])
    parts = list(outputs_of(trained, _found(trained, x), failed.append, stage=stage, **how))
    if failed:
        raise UserError(f'{failed[0].id}: {failed[0].reason} ({len(failed)} in all)')
    _check_some(parts, failed)
    return np.concatenate([part.values for part in parts])


def _found(trained: Trained, x: object) -> Iterator[Found]:
    if isinstance(x, (str, os.PathLike)):
        return read_inputs(os.fspath(x), trained.settings, trained.texts, trained.table)
    if trained.texts and isinstance(x, (list, tuple, np.ndarray)):
        kind, unit = trained.settings.label_kind, trained.settings.units
        texts = [kind.as_text(value, at_row(number), unit) for number, value in enumerate(x)]
        items = zip(python_items(texts, True, trained.table), x, strict=True)
        return (
            dataclasses.replace(item, label=kind.label_of(value))
            if isinstance(item, Item)
            else item
            for item, value in items
        )
    return python_items(x, trained.texts, trained.table)


def _check_some(parts: list[Outputs], failed: list[Unreadable]) -> None:
    if not parts:
        first = f'; the first, {failed[0].id}: {failed[0].reason}' if failed else ''
        raise UserError(f'none of {len(failed)} inputs could be read{first}')
