"""From a config to everything a run needs: data, network, variables, plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.config import Config
from ftjax.data import Splits, load_data
from ftjax.data.matching import matching_preprocessing
from ftjax.data.text.trained_tokenizer import wanted
from ftjax.errors import UserError
from ftjax.freezing.plan.plan import Plan, make_plan
from ftjax.freezing.plan.table import plan_table
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pytrees import Flat, Variables
from ftjax.runs.before_training.previous_tasks import importance_of
from ftjax.runs.loss_columns.of_loss import with_columns_of_loss
from ftjax.runs.network_opening import Opened, Unopened, outline_network
from ftjax.tasks import task_of
from ftjax.training.loop.validation import check_validation
from ftjax.training.step.loss_options import loss_options

if TYPE_CHECKING:
    from ftjax.pretrained.strict_load import Held


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Everything a run needs, decided and loaded; nothing trained yet."""

    config: Config
    data: Splits
    network: Network
    variables: Variables
    preprocessing: Preprocessing | TextPreprocessing | None
    load_report: dict[str, Any]
    plan: Plan
    run_length: RunLength = dataclasses.field(default_factory=RunLength)
    opened: Opened | None = None
    """The network as its checkpoint gave it; None where it was made by hand."""
    importance: Flat = dataclasses.field(default_factory=dict)
    """By leaf, how much its entries matter for the tasks of `train.previous`, on the host."""

    def table(self) -> str:
        """The plan as text, and what is computed in, where that is not float32."""
        table = '\n'.join(
            [plan_table(self.plan, self.config.optimizer.learning_rate), *self._runs_again()]
        )
        dtype = self.config.model_options.get('dtype', 'float32')
        if dtype == 'float32':
            return table
        said = 'weights that train, their moments and the loss are float32'
        return f'{table}\nprecision: computes in {dtype}; {said}'

    def _runs_again(self) -> Iterator[str]:
        """What freezing means for stages that run more than once with one set of weights."""
        for stage, times in self.network.runs.items():
            if times > 1:
                yield (
                    f'{stage} runs {times} times with one set of weights: what is frozen or trains '
                    'in it does so in every run, and no part of that depth can be frozen alone'
                )

    def first_screen(self) -> str:
        """What is trained on: sizes, classes, what the network sees, copies, notes."""
        from ftjax.data.audit.overview import overview, seen_by  # many runs show none

        data, image_size = self.data, self.config.data.image_size
        return overview(data, seen_by(data.train, self.preprocessing, image_size))


def prepare(
    config: Config,
    data: Splits | None = None,
    opened: Opened | None = None,
    weights: bool = True,
    importance: Flat | None = None,
    finished: bool = False,
) -> Prepared:
    """Config → data → network → plan → pretrained variables.

    Args:
      config: of the run.
      data: the splits, for callers that have read them before.
      opened: `open_network(config, data)`, for callers that have done that before.
      weights: whether the weights are read; without, `variables` are shapes, which are enough to
        price a run.
      importance: how much weights matter for previous tasks, for callers that know; None for what
        the runs of `train.previous` say.
      finished: whether the run is; then what only training needs, a teacher or previous runs, may
        be gone.

    Raises UserError for whatever in the config, the data or the checkpoint is wrong; what the
    config and headers tell is found before any weight is read.
    """
    data = data if data is not None else load_data(config.data)
    found = opened if opened is not None else outline_network(config, data)
    preprocessing = matching_preprocessing(
        data.train, found.network, found.preprocessing, config.data
    )
    data = with_columns_of_loss(config, data, preprocessing, finished)
    known = found.shapes if isinstance(found, Unopened) else float32_shapes(found.variables)
    network, shapes = with_adapters(config.freeze, found.network, known, config.seed)
    run_length = run_length_of(config, data)
    plan = make_plan(
        config.freeze,
        network,
        shapes,
        head_is_new=found.head_is_new,
        run_length=run_length,
        seed=config.seed,
    )
    if importance is None and finished:
        importance = {}
    if importance is None:
        importance = importance_of(config.train.previous, plan, shapes, weights)
    check_validation(config.train, plan, data.val)
    if config.train.adapt:
        from ftjax.training.adaptation.methods import check_adaptation  # few runs adapt

        check_adaptation(config.train, data, plan)
    if not finished:  # raises before the first step
        check_loss(config, data)
        check_one_average(config, plan)
        check_tokenizer(config, found.preprocessing)
    if isinstance(found, Unopened):
        found = found.open(as_planned(plan), weights)
    variables = shapes
    if weights:
        _, variables = with_adapters(config.freeze, found.network, found.variables, config.seed)
        # A run copies to the device what it needs there, in the dtype that its plan says.
        variables = jax.device_get(variables)
    return Prepared(
        *(config, data, network, variables, preprocessing, found.report, plan, run_length, found),
        importance=importance,
    )


def check_loss(config: Config, data: Splits) -> None:
    """UserError for a loss that the data or the size of a batch do not allow."""
    task = task_of(data.task)
    options = loss_options(config.train, task, data.train)
    if config.data.batch_size < 2 and task.compares(options):
        raise UserError(
            'data.batch_size is 1, and the loss compares the examples of a batch: alone, each is '
            'right; expected 2 or more'
        )


def check_one_average(config: Config, plan: Plan) -> None:
    """UserError for an average of the optimizer beside that of the plan, which alone would act."""
    average = plan.term('average')
    if average is not None and config.optimizer.ema:
        raise UserError(
            f'optimizer.ema is {config.optimizer.ema:g}, and {average} of freeze averages the '
            'weights too; keep one'
        )


def check_tokenizer(config: Config, own: Preprocessing | TextPreprocessing | None) -> None:
    """UserError for a tokenizer made anew beside weights that know the tokens of their `own`."""
    if not isinstance(own, TextPreprocessing) or config.init.startswith('random:'):
        return
    if wanted(config.data.tokenizer) is not None:
        raise UserError(
            f'data.tokenizer {config.data.tokenizer!r} makes a tokenizer from the training texts, '
            f'but the weights of config.init {config.init!r} were trained with their own, and mean '
            "other words by the same numbers; expected '' for their own, or random:"
            f'{config.init} to train from random weights'
        )


def as_planned(plan: Plan) -> Held:
    """How leaves are held on the host: in float32, or as in the file what only the device rounds.

    A leaf that no phase trains, that is stored in half precision on the device and that the file
    has in half precision too never becomes float32: nothing is lost by that.
    """
    phases = [*plan.phases, *([plan.base] if plan.base else [])]
    stored = frozenset.intersection(*(frozenset(phase.stored) for phase in phases)) - plan.trained

    def held(key: str, have: np.dtype) -> np.dtype:
        half = jnp.issubdtype(have, jnp.floating) and have.itemsize == 2
        return have if half and key.removeprefix('params/') in stored else np.dtype(np.float32)

    return held


def float32_shapes(variables: Variables) -> Variables:
    """Shapes of variables as a network has them by itself, however they are held."""

    def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
        half = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize == 2
        return jax.ShapeDtypeStruct(leaf.shape, jnp.float32 if half else leaf.dtype)

    return jax.tree.map(shape_of, dict(variables))


def run_length_of(config: Config, data: Splits) -> RunLength:
    """How long the run of a config is, in steps and in epochs."""
    steps_per_epoch = max(1, len(data.train) // config.data.batch_size)
    return RunLength(config.train.total(steps_per_epoch), steps_per_epoch)
