"""What a config says about training: `config.train`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from flax.traverse_util import flatten_dict

from ftjax.errors import UserError, check_name

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
    skip_bad: int = 0
    """Steps of the run whose loss or gradient may be NaN or infinite: such a step is skipped and
    counted, and one more than so many ends the run."""
    remat: bool = False
    """Run the stages from the cut on again in the backward pass in place of keeping all that
    they computed: less memory, for one more forward pass of what trains."""
    tensorboard: bool = False
    cache: str = 'auto'
    """Whether outputs of the frozen stages before the cut are computed once and stored, so that
    steps start at the cut: `off`; `on`, which refuses where that is not possible; `auto`, where
    it is possible, cheaper, and fits `cache_bytes`. The losses are the same."""
    cache_views: int = 1
    """Fixed augmented views of each training example that are stored in place of a new one at
    every step; 1 for none: the cache then needs data.augment='none'."""
    cache_bytes: int = 2 * 2**30
    """Bytes of stored outputs that are kept in memory, at most a quarter of the machine's; `on`
    stores more than that in memory-mapped files."""
    cache_folder: str | None = None
    """Where such files go; None for `features` below $FTJAX_CACHE or ~/.cache/ftjax."""

    def __post_init__(self):
        if self.keep not in ('best', 'last'):
            raise UserError(f"train.keep is {self.keep!r}; expected 'best' or 'last'")
        check_name(self.cache, ('off', 'auto', 'on'), 'train.cache')
        if self.cache_views < 1 or (self.cache_views > 1 and self.cache != 'on'):
            raise UserError(
                f'train.cache_views is {self.cache_views!r}; expected 1, or more with '
                "train.cache='on'"
            )
        if type(self.skip_bad) is not int or self.skip_bad < 0:
            raise UserError(f'train.skip_bad is {self.skip_bad!r}; expected steps, at least 0')
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

    def calls(self, network: Any, params: Mapping[str, Any], start: str | None = None) -> int:
        """Most steps of one dispatch on the present backend, of a network run from a stage on."""
        if self.steps_per_call is not None:
            return self.steps_per_call
        run = network.stages[network.stages.index(start) if start else 0 :]
        flat: dict[str, Any] = flatten_dict(dict(params), sep='/')
        convolves = any(
            len(leaf.shape) == 4 and path.split('/')[0] in {*network.blocks} & {*run}
            for path, leaf in flat.items()
        )
        return 1 if convolves and jax.default_backend() == 'cpu' else STEPS_PER_CALL
