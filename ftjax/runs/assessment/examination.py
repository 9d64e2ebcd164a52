"""A trained network on labelled data: metrics, and what it gave for every example."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ftjax.data import eval_batches
from ftjax.data.dataset import Dataset
from ftjax.data.streams.loader import real_rows
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import check_class_names, gather
from ftjax.evaluation.split_outputs import split_outputs
from ftjax.runs.prediction.trained import Trained
from ftjax.tasks import LossOptions, task_of
from ftjax.tasks.threshold import Threshold


@dataclasses.dataclass(frozen=True)
class Examined:
    """What an evaluation found."""

    metrics: dict[str, Any]
    dataset: Dataset
    outputs: np.ndarray
    """float32 (n, numbers an example); (0, 0) of a network that gives numbers for every token."""
    labels: np.ndarray
    losses: np.ndarray
    """Of each example, (n,); float64."""
    told: tuple[Mapping[str, Any], ...] = ()
    """What the task tells of each example, where outputs are not kept."""
    threshold: Threshold | None = None
    """Of its run, at which answers are given; None for the task's own."""

    def row(self, index: int) -> dict[str, Any]:
        """Of an example by its position: `id`, what its task tells, `loss`, outputs."""
        row: dict[str, object] = {'id': str(self.dataset.ids[index])}
        if self.told:
            return row | _plain(self.told[index])
        task, names = task_of(self.dataset.task), self.dataset.class_names
        outputs = self.outputs[index]
        given = outputs, self.labels[index], names
        at = self.threshold
        row |= _plain(task.example(*given) if at is None else task.example_at(*given, at))
        return row | {'loss': float(self.losses[index])} | _outputs(outputs, names)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All of them, in the split's order."""
        return (self.row(index) for index in range(len(self.dataset)))


def examine(trained: Trained, dataset: Dataset) -> Examined:
    """Metrics of a data set whose labels are the head's classes, and all examples.

    Raises:
      UserError: no example; no head; labels or inputs of another kind.
    """
    trained.check_head()
    if not len(dataset):
        raise UserError(f'{dataset.name}: there are no examples to evaluate on')
    task, names = task_of(dataset.task), dataset.class_names
    trained.reading()  # says what is missing
    pairs = split_outputs(
        *(trained.network, trained.placed, dataset, trained.settings, trained.preprocessing)
    )
    losses = np.full(len(dataset), np.nan)
    told: dict[int, Mapping[str, object]] = {}
    kept: list[tuple[np.ndarray, dict[str, Any]]] = []

    def seen() -> Iterator[tuple[np.ndarray, Mapping[str, Any]]]:
        """The pairs as they pass by, noted down."""
        for outputs, batch in pairs:
            wide = np.asarray(outputs).astype(np.float32)
            each = np.asarray(task.losses(wide, batch, LossOptions()), np.float64)
            real = real_rows(batch)
            if each.ndim == 1:
                losses[batch['index'][real]] = each[real]
                kept.append((wide, {**batch, 'inputs': None}))
            else:
                for at in np.flatnonzero(real):
                    index = int(batch['index'][at])
                    told[index] = task.example(wide[at], batch['labels'][at], names)
                    losses[index] = told[index].get('loss', np.nan)
            yield outputs, batch

    called = names or trained.class_names
    metrics = task.measure(seen(), called, trained.threshold, groups=dataset.groups)
    if not kept:
        examples = tuple(told.get(index, {}) for index in range(len(dataset)))
        nothing = np.zeros((0, 0), np.float32)
        return Examined(metrics, dataset, nothing, dataset.labels, losses, examples)
    found = gather(kept)
    return Examined(
        *(metrics, dataset, found.outputs, found.labels, losses), threshold=trained.threshold
    )


def outputs_on(
    trained: Trained, dataset: Dataset, stage: str | None, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """(outputs or embeddings of a stage (n, width), labels), of so many examples, evenly spaced."""
    if len(dataset) > most:
        dataset = dataset.take(np.linspace(0, len(dataset) - 1, most).astype(int))
    reading = trained.reading()
    batches = eval_batches(dataset, reading.batch_size, reading.image_size, reading.preprocessing)
    pairs = predict(trained.network, trained.placed, batches, trained.preprocessing, stage=stage)
    found = gather(pairs)
    return found.outputs, found.labels


def _outputs(outputs: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
    flat = outputs.reshape(-1)
    if len(names) == len(flat):
        called = check_class_names(names, len(flat))
    else:
        called = tuple(str(index) for index in range(len(flat)))
    return {f'output:{name}': float(value) for name, value in zip(called, flat, strict=True)}


def _plain(example: Mapping[str, object]) -> dict[str, object]:
    """Lists of names as one text, so that a row is flat."""
    return {
        key: '|'.join(map(str, value)) if isinstance(value, (list, tuple)) else value
        for key, value in example.items()
    }
