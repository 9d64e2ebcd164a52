"""From a config to everything a run needs: data, network, variables, plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.config import Config
from ftjax.data import Splits, load_data
from ftjax.data.audit.overview import overview, seen_by
from ftjax.data.matching import matching_preprocessing
from ftjax.data.tables.fitted_columns import network_options, target_options
from ftjax.errors import UserError, check_name
from ftjax.freezing.plan.plan import Plan, make_plan
from ftjax.freezing.plan.table import plan_table
from ftjax.freezing.run_length import RunLength
from ftjax.freezing.strategies.adapters import with_adapters
from ftjax.models.built.network import Built
from ftjax.models.registry import build, family, fields_of, is_recipe
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.built_models import open_model
from ftjax.pretrained.initialise import leaf_shapes, random_variables
from ftjax.pretrained.leaves import unflatten
from ftjax.pretrained.open import outline
from ftjax.pretrained.outline import BuiltOutline, Outline
from ftjax.pretrained.strict_load import Held
from ftjax.tasks import task_of
from ftjax.training.adaptation.methods import check_adaptation
from ftjax.training.loop.validation import check_validation
from ftjax.training.step.loss_options import loss_options


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Everything a run needs, decided and loaded; nothing trained yet."""

    config: Config
    data: Splits
    network: Network
    variables: dict[str, Any]
    preprocessing: Preprocessing | TextPreprocessing | None
    load_report: dict[str, Any]
    plan: Plan
    run_length: RunLength = dataclasses.field(default_factory=RunLength)
    opened: Opened | None = None
    """The network as its checkpoint gave it; None where it was made by hand."""

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
        data, image_size = self.data, self.config.data.image_size
        return overview(data, seen_by(data.train, self.preprocessing, image_size))


@dataclasses.dataclass(frozen=True)
class Opened:
    """A network as the checkpoint gives it to a task, before the plan is made."""

    network: Network
    variables: dict[str, Any]
    """On the host; nobody changes them in place, so that runs may share them. Shapes alone where
    nothing was read."""
    preprocessing: Preprocessing | TextPreprocessing | None
    report: dict[str, Any]
    head_is_new: bool


@dataclasses.dataclass(frozen=True)
class Unopened:
    """The same from names and headers alone, and how its weights are read."""

    network: Network
    shapes: dict[str, Any]
    preprocessing: Preprocessing | TextPreprocessing | None
    head_is_new: bool
    report: Callable[[Held], dict[str, Any]]
    read: Callable[[Held], dict[str, object]]

    def open(self, held: Held, weights: bool = True) -> Opened:
        """Reads the weights, each leaf into the dtype that `held` says; or leaves shapes."""
        return Opened(
            self.network,
            self.read(held) if weights else self.shapes,
            self.preprocessing,
            self.report(held),
            self.head_is_new,
        )


def prepare(
    config: Config,
    data: Splits | None = None,
    opened: Opened | None = None,
    weights: bool = True,
) -> Prepared:
    """Config → data → network → plan → pretrained variables.

    Args:
      config: of the run.
      data: the splits, for callers that have read them before.
      opened: `open_network(config, data)`, for callers that have done that before.
      weights: whether the weights are read; without, `variables` are shapes, which are enough to
        price a run.

    Raises UserError for whatever in the config, the data or the checkpoint is wrong; what the
    config and headers tell is found before any weight is read.
    """
    data = data if data is not None else load_data(config.data)
    found = opened if opened is not None else outline_network(config, data)
    preprocessing = matching_preprocessing(
        data.train, found.network, found.preprocessing, config.data
    )
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
    check_validation(config.train, plan, data.val)
    check_adaptation(config.train, data)
    loss_options(config.train, task_of(data.task), data.train)  # raises before the first step
    if isinstance(found, Unopened):
        found = found.open(as_planned(plan), weights)
    variables = shapes
    if weights:
        _, variables = with_adapters(config.freeze, found.network, found.variables, config.seed)
        # A run copies to the device what it needs there, in the dtype that its plan says.
        variables = jax.device_get(variables)
    return Prepared(
        config, data, network, variables, preprocessing, found.report, plan, run_length, found
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


def in_float32(key: str, have: np.dtype) -> np.dtype:
    """Holds every parameter in float32, for plans that are not known yet."""
    del key, have
    return np.dtype(np.float32)


def float32_shapes(variables: Mapping[str, object]) -> dict[str, object]:
    """Shapes of variables as a network has them by itself, however they are held."""

    def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
        half = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize == 2
        return jax.ShapeDtypeStruct(leaf.shape, jnp.float32 if half else leaf.dtype)

    return jax.tree.map(shape_of, dict(variables))


def open_network(config: Config, data: Splits) -> Opened:
    """The network of a config for the classes of its data, with weights in float32.

    Raises UserError for whatever is wrong with the checkpoint.
    """
    return outline_network(config, data).open(in_float32)


def outline_network(config: Config, data: Splits) -> Unopened:
    """The network of a config for the classes of its data; no weights are read."""
    classes, options = data.num_outputs, config.model_options
    if data.train.takes == 'texts':
        options = {**data.label_kind.network_options, **options}
    if config.init:

        def outlined(more: Mapping[str, object]) -> Outline | BuiltOutline:
            return outline(
                config.init,
                num_classes=classes,
                class_names=data.class_names or None,
                image_size=config.data.image_size,
                seed=config.seed,
                options={**more, **options} or None,
            )

        found, targets = outlined({}), target_options(data.train)
        if targets and found.head == 'new':
            found = outlined(targets)
        return Unopened(
            found.network,
            found.shapes,
            found.preprocessing[0],
            found.head != 'kept',
            lambda held: found.report(held=held).to_json(),
            lambda held: found.load(held=held, host=True).variables,
        )
    name = options.pop('name', None)
    if name is None:
        raise UserError("config.init is empty and config.model.name says no network: 'vit'?")
    if is_recipe(name):
        raise UserError(
            f'config.model.name is {name!r}, a model that comes with its weights: name it in '
            f'config.init, {name!r}, or random:{name} for others'
        )
    fits = 'features' in fields_of(family(name))
    sizes = network_options(data.train, config.data) if fits else {}
    network = build(name, {'num_classes': classes, **sizes, **options})
    return Unopened(
        network,
        unflatten(leaf_shapes(network)),
        standard_preprocessing(network) if network.takes == 'images' else None,
        True,
        lambda held: {'initialised': f'all of {name}, at random'},
        lambda held: jax.device_get(random_variables(network, config.seed)),
    )


def open_built_network(config: Config, data: Splits, built: Built) -> Opened:
    """A model that was built in Python, for the classes of the data.

    Raises UserError for a field of `config.model`, which such a model has no more.
    """
    options = config.model_options
    for key in options:
        check_name(key, ['dtype'], 'option of a model that is built already:')
    if 'dtype' in options:
        network = built.network.clone(dtype=options['dtype'])
        built = dataclasses.replace(built, network=network)
    found = open_model(
        *(built, config.init),
        num_classes=data.num_outputs,
        class_names=data.class_names or None,
        seed=config.seed,
    )
    return Opened(
        found.network,
        jax.device_get(found.variables),
        found.preprocessing,
        found.report.to_json(),
        found.report.head != 'kept',
    )


def what_opens(config: Config, data: Splits) -> tuple:
    """Equal for configs and data that `open_network` gives the same for."""
    asked = data.num_outputs, tuple(data.class_names or ()), config.data.image_size, config.seed
    # Of a table the network's sizes and units follow from the training rows.
    table = network_options(data.train, config.data)
    kind = repr(dict(data.label_kind.network_options))
    return config.init, repr(config.model_options), *asked, repr(table), kind


def standard_preprocessing(network: Network) -> Preprocessing:
    """For a network that came without one: its own size, pixels to [-1, 1]."""
    image = network.example_input()
    assert not isinstance(image, Mapping)
    height, width, channels = image.shape[1:]
    half = (0.5,) * channels
    return Preprocessing(image_size=(height, width), mean=half, std=half, channels=channels)


def run_length_of(config: Config, data: Splits) -> RunLength:
    """How long the run of a config is, in steps and in epochs."""
    steps_per_epoch = max(1, len(data.train) // config.data.batch_size)
    return RunLength(config.train.total(steps_per_epoch), steps_per_epoch)
