"""A trained network's outputs and answers on inputs without labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ftjax.data.settings import DataSettings
from ftjax.data.unlabelled.chunks import Chunk, Failed, chunks
from ftjax.data.unlabelled.inputs import read_inputs
from ftjax.data.unlabelled.items import Found, Unreadable
from ftjax.errors import UserError
from ftjax.evaluation.predict import predict
from ftjax.evaluation.predictions import check_finite, gather
from ftjax.runs.prediction.trained import Trained
from ftjax.tasks import task_of
from ftjax.tasks.answers import ANSWERS, AnswerOptions


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Of some inputs, in the order of their source."""

    ids: list[str]
    values: np.ndarray
    """float32 (n, ..): what the head gives, or the embedding of a stage (n, width); an object array
    of (words, ..) arrays where an input is words."""
    inputs: Sequence[Any] = ()
    """As the data hold them."""
    sizes: Sequence[tuple[int, int] | None] = ()
    """(height, width) of each image as it came, where the network answers its positions."""
    cut: int = 0
    """How many of them, texts, were longer than `longest` tokens and lost their end."""
    longest: int = 0

    def rows(self, trained: Trained, options: AnswerOptions = ANSWERS) -> Iterator[dict[str, Any]]:
        """One dict an input: `id`, and what the task answers; numbers are Python's own."""
        columns = trained.task.answers_to(self.inputs, self.values, trained.class_names, options)
        for number, name in enumerate(self.ids):
            found = {key: values[number] for key, values in columns.items()}
            yield {'id': name, **{key: _plain(value) for key, value in found.items()}}


def _plain(value: object) -> object:
    """A number of numpy as Python's, the same value; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def outputs_of_source(
    trained: Trained,
    source: str,
    failed: Failed,
    *,
    settings: DataSettings | None = None,
    **how: Any,
) -> Iterator[Outputs]:
    """Outputs on a folder or a file, a part at a time; see `outputs_of`.

    Args:
      trained: the network.
      source: what `read_inputs` takes.
      failed: is told of each input that is left out.
      settings: columns and so on, in place of those of the network's run.
      **how: as of `outputs_of`.
    """
    found = read_inputs(source, settings or trained.settings, trained.texts, trained.table)
    return outputs_of(trained, found, failed, **how)


def outputs_of(
    trained: Trained,
    found: Iterable[Found],
    failed: Failed,
    *,
    batch_size: int | None = None,
    stage: str | None = None,
    mirrored: bool = False,
) -> Iterator[Outputs]:
    """Outputs on inputs, a part at a time.

    Args:
      trained: the network.
      found: inputs, in order.
      failed: is told of each that is left out.
      batch_size: inputs a batch; None for that of the run's evaluation. Another one may change
        the last bits of the outputs.
      stage: whose embedding is given; None for the outputs of the head.
      mirrored: mean of the outputs on each image and on its mirror image.

    Raises:
      UserError: no head, no such stage, or an output that is no number.
    """
    if stage is None:
        trained.check_head()
        task_of(trained.settings.task).check_answers()
    if mirrored and trained.network.takes != 'images':
        told = 'texts' if trained.texts else 'rows of a table'
        raise UserError(f'test-time augmentation mirrors images, and the network takes {told}')
    if mirrored and trained.network.is_dense:
        raise UserError(
            'test-time augmentation mirrors images, and answers for pixels are not mirrored back'
        )
    if stage is None and trained.settings.sliding is not None:
        raise UserError(
            'the network answers windows that slide over images (data.sliding): its answers are '
            'masks, written by scripts/predict.py --output=FOLDER'
        )
    for chunk in chunks(found, trained.reading(batch_size, answers=stage is None), failed):
        pairs = predict(
            *(trained.network, trained.placed, chunk.batches, trained.preprocessing),
            stage=stage,
            tta='flip' if mirrored else trained.settings.tta,
        )
        yield from _gathered(chunk, list(pairs), failed)


def _gathered(chunk: Chunk, pairs: Sequence[tuple[Any, Any]], failed: Failed) -> Iterator[Outputs]:
    """The outputs of a chunk; inputs that have none, of whose tokens none follows, are left out."""
    if any(np.any(batch['mask']) for _, batch in pairs):
        found = gather(pairs)
        check_finite(found.outputs)
        kept = found.index.tolist()
        inputs, sizes = chunk.batches.dataset.inputs[found.index], chunk.sizes
        sizes = [sizes[place] for place in kept] if len(sizes) else ()
        ids, cut = [chunk.ids[place] for place in kept], int(chunk.cut[kept].sum())
        yield Outputs(ids, found.outputs, inputs, sizes, cut, chunk.longest)
    else:
        kept = []
    for place in sorted({*range(len(chunk.ids))} - {*kept}):
        failed(Unreadable(chunk.ids[place], 'has no token that is to be guessed from others'))
