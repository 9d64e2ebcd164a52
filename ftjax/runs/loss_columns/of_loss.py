"""The columns that the loss of a config asks for, in the training split.

A column is a registered function (kind `column`) of `Asked` and of those arguments of the loss
that it has too. It gives numbers with a row an example, or a `Column` that makes them later.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ftjax.config import Config
from ftjax.data.augmentation import of_kind, parse_augment
from ftjax.data.dataset import Dataset, Splits
from ftjax.data.example_columns import Column
from ftjax.errors import UserError
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.registry import Part, Term, find
from ftjax.tasks.registry import columns_of, loss_of


@dataclasses.dataclass(frozen=True)
class Asked:
    """For which run a column is made."""

    data: Splits
    config: Config
    preprocessing: Preprocessing | TextPreprocessing | None
    """Of the network that is trained."""

    @property
    def train(self) -> Dataset:
        """The training split, as it is read."""
        return self.data.train


def with_columns_of_loss(
    config: Config,
    data: Splits,
    preprocessing: Preprocessing | TextPreprocessing | None,
    finished: bool = False,
) -> Splits:
    """The data, their training split with what `train.loss` finds in its batches.

    Of a run that is `finished` a column that cannot be made any more, because its teacher is gone
    say, is left out, and a note says so.

    Raises:
      UserError: an unknown loss or column, training batches that hold no single examples, or what
        the column itself cannot be made of.
    """
    loss = loss_of(config.train.loss, data.task)
    names = columns_of(loss)
    if loss is None or not names:
        return data
    if data.train.packed:
        raise UserError(f'train.loss {str(loss)!r} needs a row an example; set data.packing=False')
    mixing = of_kind(parse_augment(config.data.augment), 'batches')
    if mixing:
        raise UserError(
            f'train.loss {str(loss)!r} has numbers of single examples, and data.augment '
            f'{str(mixing[0])!r} mixes examples; leave one of the two out'
        )
    asked = Asked(data, config, preprocessing)
    try:
        return data.with_columns({name: column(name, loss, asked) for name in names})
    except UserError as error:
        if not finished:
            raise
        note = (
            f'train.loss cannot be made again ({error}); the run is finished and needs it no more'
        )
        return dataclasses.replace(data, notes=(*data.notes, note))


def column(name: str, loss: Term, asked: Asked) -> Column:
    """A column of the training split by its name.

    Raises:
      UserError: there is none of that name, or not a finite number for each example.
    """
    part = find('column', name, f'column of the loss {loss.name}:')
    found = part.function(asked, **arguments_of(part, loss))
    if isinstance(found, Column):
        return found
    try:
        values = np.asarray(found, np.float32)
    except (TypeError, ValueError):
        values = np.full(0, np.nan)
    count = len(asked.train)
    if values.shape[:1] != (count,) or not np.isfinite(values).all():
        raise UserError(
            f'column {name!r} of the loss {loss.name}: expected finite numbers with a row for each '
            f'of {count} training examples, got {np.asarray(found).dtype} {np.shape(found)}'
        )
    return Column.of(values)


def arguments_of(part: Part, loss: Term) -> dict[str, Any]:
    """Those arguments of a loss that a column has too."""
    return {key: loss.arguments[key] for key in part.parameters if key in loss.arguments}
