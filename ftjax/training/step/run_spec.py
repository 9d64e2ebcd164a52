"""What a run is made of: all that decides its numbers, and what follows from that, once."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ftjax.data import Dataset, EvalBatches, Splits, TrainStream, eval_batches
from ftjax.data.augmentation import parse_augment
from ftjax.data.streams.loader import Loader
from ftjax.data.streams.train_stream import STEP_TAKES
from ftjax.distributed.process_group import several
from ftjax.distributed.sharding import Sharding
from ftjax.freezing.plan.phase import Phase
from ftjax.freezing.plan.plan import Plan
from ftjax.models.stages import Network
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Flat, Variables
from ftjax.registry import parse
from ftjax.tasks import DEFAULT_TASK, task_of
from ftjax.tasks.task import Task
from ftjax.training.settings import TrainSettings
from ftjax.training.step.loss_options import loss_options
from ftjax.training.step.multi_step import longest_chunk
from ftjax.training.step.train_step import TrainStep


@dataclasses.dataclass(frozen=True, eq=False)
class RunSpec:
    """The one wiring of a run: training, cost, memory, estimates and benchmarks all take it.

    What is priced is therefore what runs: remat, sharding and augmentation included. A run that
    differs in something is `dataclasses.replace(spec, seed=1)`.
    """

    network: Network
    variables: Variables
    """As `load_pretrained` gives them; shapes are enough to price a run."""
    plan: Plan
    data: Splits | None = None
    """None where no batch is read: a step is priced or timed on inputs of the network's size."""
    _: dataclasses.KW_ONLY
    optimizer: OptimizerSettings = dataclasses.field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = dataclasses.field(default_factory=ScheduleSettings)
    settings: TrainSettings = dataclasses.field(default_factory=TrainSettings)
    preprocessing: Preprocessing | TextPreprocessing | None = None
    batch_size: int = 32
    eval_batch_size: int = 256
    augmentation: str = 'none'
    sampler: str = ''
    image_size: tuple[int, int] | None = None
    seed: int = 0
    sharding: Sharding = dataclasses.field(default_factory=Sharding)
    """Where leaves and examples lie on the devices; by default leaves on all of them."""
    task_without_data: str = DEFAULT_TASK
    importance: Flat = dataclasses.field(default_factory=dict)
    """By leaf, how much its entries matter for previous tasks; {} where nothing asks for it."""
    reference: Flat | None = None
    """By leaf, the pretrained values that regularisers go by; None for those of `variables`."""

    @property
    def splits(self) -> Splits:
        """The data; a run without is a mistake of the program."""
        if self.data is None:
            raise ValueError('this spec has no data: it can be priced, not run')
        return self.data

    @property
    def task(self) -> Task:
        """What the network is trained to do."""
        return task_of(self.task_without_data if self.data is None else self.data.train.task)

    def stream_of(self, seed: int, size: int | None = None, augmented: bool = True) -> TrainStream:
        """Training batches in the order of a seed."""
        return TrainStream(
            self.splits.train,
            size or self.batch_size,
            seed,
            self.image_size,
            self.preprocessing,
            self.augmentation if augmented else 'none',
            self.sampler,
            row_unit=self.sharding.devices * self.optimizer.accumulate,
        )

    @functools.cached_property
    def stream(self) -> TrainStream:
        """The training batches of this process; texts of one call have one length."""
        stream = self.stream_of(self.seed).in_runs(self.steps_per_call())
        return stream.shared(self.sharding.rows(self.batch_size)) if several() else stream

    @functools.cached_property
    def validation(self) -> EvalBatches:
        """The batches of the validation split."""
        return self.batches_of(self.splits.val)

    def batches_of(self, dataset: Dataset) -> EvalBatches:
        """The batches of any split, each example once."""
        return eval_batches(dataset, self.eval_batch_size, self.image_size, self.preprocessing)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches an epoch; at least 1."""
        return max(1, len(self.splits.train) // self.batch_size)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.settings.total(self.steps_per_epoch)

    @property
    def validate_every(self) -> int:
        """Steps between validations."""
        return self.settings.every(self.steps_per_epoch)

    @property
    def counted_once(self) -> int:
        """Times that a step does what the compiler counts once: parts of a batch, and devices."""
        return self.optimizer.accumulate * self.sharding.devices

    def steps_per_call(self, start: str | None = None) -> int:
        """Steps of one call of the program whose batches enter at a stage; None is the first."""
        # Calls end wherever something may change, so that a phase needs one program.
        regular = math.gcd(self.validate_every, *self.plan.boundaries)
        most = self.settings.calls(self.network, self.variables['params'], start)
        return longest_chunk(regular, most)

    @property
    def records_gradients(self) -> bool:
        """Whether a strategy looks at the sum of all gradients so far."""
        terms = self.plan.of_kind('data_driven')
        return any(term.details.record for term in terms)

    @functools.cached_property
    def step_optimizer(self) -> OptimizerSettings:
        """The optimizer, with the moving average that the plan asks for."""
        average = self.plan.term('average')
        if average is None:
            return self.optimizer
        return dataclasses.replace(self.optimizer, ema=float(average()))

    def train_step(self, phase: Phase, start: str | None = None) -> TrainStep:
        """The step of a phase: `(state, frozen, batch, rates) -> (state, metrics)`.

        `start` is the phase's cut where batches hold what the stages before it pass on.
        """
        return TrainStep(
            network=self.network,
            phase=phase.program,
            optimizer=self.step_optimizer,
            task=self.task,
            loss=dataclasses.replace(
                loss_options(
                    self.settings, self.task, None if self.data is None else self.data.train
                ),
                target_scale=self.network.target_scale,
            ),
            preprocessing=self.preprocessing,
            augmentation=self.augmentation,
            remat=self.settings.remat,
            start=start,
            regularisers=self.plan.of_kind('regulariser'),
            unregularised=self.plan.new_leaves,
            per_leaf=self.plan.per_leaf,
            record=self.records_gradients,
            named=(
                parse('optimizer', self.optimizer.name),
                *parse_augment(self.augmentation),
            ),
            sharding=self.sharding,
        )

    @functools.cached_property
    def batch_shapes(self) -> dict[str, object]:
        """Shapes of what a step takes of the largest training batch."""
        if self.data is None:
            inputs = jax.eval_shape(lambda: self.network.example_input(self.batch_size))
            kind, outputs = self.task.labels, self.network.num_classes
            labels, mask = kind.shapes(self.batch_size, outputs, inputs)
            return {'inputs': inputs, 'labels': labels, 'mask': mask}
        stream = self.stream_of(self.seed)
        if stream.packed:
            return shapes_of(stream.batch(0))
        shapes, columns = batch_shapes(stream.loader, self.batch_size), stream.dataset.columns
        if columns:  # their shapes are known before there are numbers
            shapes['columns'] = {
                name: jax.ShapeDtypeStruct((self.batch_size, *column.shape), jnp.float32)
                for name, column in columns.items()
            }
        return shapes


def batch_shapes(loader: Loader, size: int) -> dict[str, Any]:
    """Shapes of the largest batch of a split: images are alike, of texts it has the longest."""
    return shapes_of(loader.batch(loader.order()[-1:]), size)


def shapes_of(batch: Mapping[str, Any], size: int | None = None) -> dict[str, Any]:
    """Shapes of what a step takes of a batch, of `size` rows; None for as many as it has."""

    def shape_of(x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((size or len(x), *x.shape[1:]), jnp.result_type(x))

    return {name: jax.tree.map(shape_of, batch[name]) for name in STEP_TAKES if name in batch}
