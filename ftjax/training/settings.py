"""What a config says about training: `config.train`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from flax.traverse_util import flatten_dict

from ftjax.errors import UserError

STEPS_PER_CALL = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How long a run is, how often it validates, and which weights it ends with."""

    epochs: float = 10.0
    """Passes over the training split; not used when `steps` is given."""
    steps: int | None = None
    eval_every: float = 1.0
    """Epochs between validations."""
    label_smoothing: float = 0.0
    patience: int | None = None
    """Validations without a better one after which training stops; None for never."""
    keep: str = 'best'
    """Which weights the run ends with: of the `best` validation, or the `last`."""
    steps_per_call: int | None = None
    """Most steps that one dispatch runs: a program loops over them on the device. None for 16,
    and for 1 where blocks convolve on a CPU, whose compiler runs convolutions in a loop
    slowly."""
    tensorboard: bool = False

    def __post_init__(self):
        if self.keep not in ('best', 'last'):
            raise UserError(f"train.keep is {self.keep!r}; expected 'best' or 'last'")
        if self.steps is None and not self.epochs > 0:
            raise UserError(f'train.epochs is {self.epochs!r}; expected more than 0')
        if self.steps is not None and self.steps < 1:
            raise UserError(f'train.steps is {self.steps!r}; expected at least 1')
        if self.steps_per_call is not None and self.steps_per_call < 1:
            raise UserError(f'train.steps_per_call is {self.steps_per_call!r}; expected at least 1')

    def total(self, steps_per_epoch: int) -> int:
        """Steps of the whole run.

        >>> TrainSettings(epochs=2.5).total(10), TrainSettings(steps=7).total(10)
        (25, 7)
        """
        return self.steps or max(1, round(self.epochs * steps_per_epoch))

    def calls(self, network: Any, params: Mapping[str, Any]) -> int:
        """Most steps of one dispatch, for this network on the present backend."""
        if self.steps_per_call is not None:
            return self.steps_per_call
        flat: dict[str, Any] = flatten_dict(dict(params), sep='/')
        convolves = any(
            len(leaf.shape) == 4 and path.split('/')[0] in network.blocks
            for path, leaf in flat.items()
        )
        return 1 if convolves and jax.default_backend() == 'cpu' else STEPS_PER_CALL
