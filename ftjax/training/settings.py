"""What a config says about training: `config.train`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import jax

from ftjax.errors import UserError, check_name
from ftjax.field_types import check_fields
from ftjax.leaves import flatten
from ftjax.models.stages import Network
from ftjax.pytrees import Variables
from ftjax.ranges import LARGEST_INT, above, at_least, between
from ftjax.registry import parse
from ftjax.tasks.classes import class_weights
from ftjax.tasks.threshold import check_threshold

STEPS_PER_CALL = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How long a run is, how often it validates, and which weights it ends with."""

    epochs: Annotated[float, above(0)] = 10.0
    """Passes over the training split; not used when `steps` is given."""
    steps: Annotated[int | None, at_least(1)] = None
    eval_every: Annotated[float, above(0)] = 1.0
    """Epochs between validations."""
    label_smoothing: Annotated[float, between(0, 1, ends='low')] = 0.0
    """Share of each target that is spread evenly over all classes."""
    patience: Annotated[int | None, at_least(1)] = None
    """Training stops after so many validations in a row that are not better than the best
    before them (a tie in the score goes to the lower loss); None for never. The schedule is that
    of the whole run all the same, so that a run that stops early has not seen its lowest rates."""
    loss: str = ''
    """What training makes small, by name: `focal:2`; empty for the task's own loss, which
    validation measures in any case."""
    class_weights: str | Mapping[str, float] = ''
    """How much a training example of each class counts in the loss: `balanced`, `effective:0.999`,
    or a mapping, {'bee': 10.0}, where classes that it does not name weigh 1; empty for all alike.
    The loss of a batch is divided by the sum of its weights. Validation is not weighted."""
    threshold: str = ''
    """From which probability on the second of two classes, or each of several labels, is answered
    in evaluation: where `f1` or `youden` is largest on validation, the lowest of
    `specificity:0.95` there, or a number; kept with the model. Empty for the more probable class,
    or 1/2. `metric` is of that in any case."""
    adapt: str = ''
    """What fits the trained network to the inputs of data.unlabelled: `bn_adapt`, `tent`,
    `pseudo_labels:0.9`; the metrics before it stand beside those after it. Empty for nothing."""
    forgetting: str = ''
    """A source of other data, as data.source, on which the trained network is compared with the
    network as it was loaded: `docstrings:unlabelled`. Of some 500 examples; empty for nothing."""
    previous: tuple[str, ...] = ()
    """Folders of finished runs whose tasks are to be remembered: `freeze='ewc:100'` asks their
    networks and training data which weights matter."""
    metric: str = ''
    """Which metric of the validation `keep` and `patience` go by, in its own direction: one that
    the task has; empty for the task's default (accuracy, micro F1, squared error, loss)."""
    keep: str = 'best'
    """Which weights the run ends with: of the `best` validation, or the `last`."""
    steps_per_call: Annotated[int | None, at_least(1)] = None
    """Most steps of one call of the compiled program, which loops over them. None for 16,
    and for 1 where blocks convolve on a CPU, whose compiler runs convolutions in a loop
    slowly."""
    skip_bad: Annotated[int, at_least(0, 'a number of steps')] = 0
    """Steps of the run whose loss or gradient may be NaN or infinite: such a step is skipped and
    counted, and one more than so many ends the run."""
    report: bool = True
    """Write report.html, and what it is made from, into the run's folder at the end."""
    remat: bool = False
    """Run the stages from the cut on again in the backward pass in place of keeping all that
    they computed: less memory, for one more forward pass of what trains."""
    tensorboard: bool = False
    """The same as 'tensorboard' among `loggers`."""
    loggers: tuple[str, ...] = ()
    """Where metrics go besides metrics.jsonl, of `scripts/plan.py --list=logger`:
    ('tensorboard', 'wandb:PROJECT')."""
    cache: str = 'auto'
    """Whether outputs of the frozen stages before the cut are computed once and stored, so that
    steps start at the cut: `off`; `on`, which refuses where that is not possible; `auto`, where
    it is possible, cheaper, and fits `cache_bytes`. The losses are the same."""
    cache_views: Annotated[int, at_least(1)] = 1
    """Fixed augmented views of each training example that are stored in place of a new one at
    every step; 1 for none: the cache then needs data.augment='none'."""
    cache_bytes: Annotated[int, between(0, 2**63 - 1)] = 2 * 2**30
    """Bytes of stored outputs that are kept in memory, at most a quarter of the machine's; `on`
    stores more than that in memory-mapped files."""
    cache_folder: str | None = None
    """Where such files go; None for `features` below $FTJAX_CACHE or ~/.cache/ftjax."""

    def __post_init__(self):
        check_fields(TrainSettings, vars(self), 'train')
        if self.loss and self.label_smoothing:
            raise UserError(
                f'train.label_smoothing goes with the loss of the task; train.loss is {self.loss!r}'
            )
        object.__setattr__(self, 'class_weights', class_weights.read(self.class_weights))
        check_threshold(self.threshold)
        if self.keep not in ('best', 'last'):
            raise UserError(f"train.keep is {self.keep!r}; expected 'best' or 'last'")
        check_name(self.cache, ('off', 'auto', 'on'), 'train.cache')
        object.__setattr__(self, 'loggers', tuple(self.loggers))
        object.__setattr__(self, 'previous', tuple(self.previous))
        for name in self.loggers:
            parse('logger', name)
        if self.cache_views > 1 and self.cache != 'on':
            raise UserError(
                f'train.cache_views is {self.cache_views!r}; expected 1, or more with '
                "train.cache='on'"
            )

    @property
    def all_loggers(self) -> tuple[str, ...]:
        """The loggers, that of `tensorboard` included."""
        both = (*self.loggers, *(['tensorboard'] if self.tensorboard else ()))
        return tuple(dict.fromkeys(both))

    def total(self, steps_per_epoch: int) -> int:
        """Steps of the whole run.

        >>> TrainSettings(epochs=2.5).total(10), TrainSettings(steps=7).total(10)
        (25, 7)
        """
        steps = self.steps or max(1, round(min(self.epochs * steps_per_epoch, 2.0**40)))
        if steps > LARGEST_INT:
            raise UserError(
                f'train.epochs is {self.epochs:g}: at {steps_per_epoch} steps each more than the '
                f'{LARGEST_INT} steps that can be counted'
            )
        return steps

    def every(self, steps_per_epoch: int) -> int:
        """Steps between validations, at least one."""
        return max(1, round(min(self.eval_every * steps_per_epoch, LARGEST_INT)))

    def calls(self, network: Network, params: Variables, start: str | None = None) -> int:
        """Most steps of one call on the present backend, of a network run from a stage on."""
        if self.steps_per_call is not None:
            return self.steps_per_call
        run = network.stages[network.stages.index(start) if start else 0 :]
        flat = flatten(params)
        convolves = any(
            len(leaf.shape) == 4 and path.split('/')[0] in {*network.blocks} & {*run}
            for path, leaf in flat.items()
        )
        return 1 if convolves and jax.default_backend() == 'cpu' else STEPS_PER_CALL
