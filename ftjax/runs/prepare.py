"""From a config to everything a run needs: data, network, variables, plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

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
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.open import Pretrained, load_pretrained
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
        table = plan_table(self.plan, self.config.optimizer.learning_rate)
        dtype = self.config.model_options.get('dtype', 'float32')
        if dtype == 'float32':
            return table
        said = 'weights that train, their moments and the loss are float32'
        return f'{table}\nprecision: computes in {dtype}; {said}'

    def first_screen(self) -> str:
        """What is trained on: sizes, classes, what the network sees, copies, notes."""
        data, image_size = self.data, self.config.data.image_size
        return overview(data, seen_by(data.train, self.preprocessing, image_size))


@dataclasses.dataclass(frozen=True)
class Opened:
    """A network as the checkpoint gives it to a task, before the plan is made."""

    network: Network
    variables: dict[str, Any]
    """On the host; nobody changes them in place, so that runs may share them."""
    preprocessing: Preprocessing | TextPreprocessing | None
    report: dict[str, Any]
    head_is_new: bool


def prepare(config: Config, data: Splits | None = None, opened: Opened | None = None) -> Prepared:
    """Config → data → network → pretrained variables → plan.

    `opened` is for callers that have done that part before: `open_network(config, data)`.

    Raises UserError for whatever in the config, the data or the checkpoint is wrong.
    """
    data = data if data is not None else load_data(config.data)
    opened = opened if opened is not None else open_network(config, data)
    preprocessing = matching_preprocessing(
        data.train, opened.network, opened.preprocessing, config.data
    )
    network, variables = with_adapters(config.freeze, opened.network, opened.variables, config.seed)
    # A run copies to the device what it needs there, in the dtype that its plan says.
    variables = jax.device_get(variables)
    run_length = run_length_of(config, data)
    plan = make_plan(
        config.freeze,
        network,
        variables,
        head_is_new=opened.head_is_new,
        run_length=run_length,
        seed=config.seed,
    )
    check_validation(config.train, plan, data.val)
    check_adaptation(config.train, data)
    loss_options(config.train, task_of(data.task), data.train)  # raises before the first step
    return Prepared(
        config, data, network, variables, preprocessing, opened.report, plan, run_length, opened
    )


def open_network(config: Config, data: Splits) -> Opened:
    """The network of a config for the classes of its data, with weights.

    Raises UserError for whatever is wrong with the checkpoint.
    """
    classes, options = data.num_outputs, config.model_options
    if config.init:

        def load(more: Mapping[str, Any]) -> Pretrained:
            return load_pretrained(
                config.init,
                num_classes=classes,
                class_names=data.class_names or None,
                image_size=config.data.image_size,
                seed=config.seed,
                options={**more, **options} or None,
            )

        pretrained, targets = load({}), target_options(data.train)
        if targets and pretrained.report.head == 'new':
            pretrained = load(targets)
        return Opened(
            pretrained.network,
            jax.device_get(pretrained.variables),
            pretrained.preprocessing,
            pretrained.report.to_json(),
            pretrained.report.head != 'kept',
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
    return Opened(
        network,
        jax.device_get(random_variables(network, config.seed)),
        standard_preprocessing(network) if network.takes == 'images' else None,
        {'initialised': f'all of {name}, at random'},
        True,
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
    return config.init, repr(config.model_options), *asked, repr(table)


def standard_preprocessing(network: Network) -> Preprocessing:
    """For a network that came without one: its own size, pixels to [-1, 1]."""
    height, width, channels = network.example_input().shape[1:]
    half = (0.5,) * channels
    return Preprocessing(image_size=(height, width), mean=half, std=half, channels=channels)


def run_length_of(config: Config, data: Splits) -> RunLength:
    """How long the run of a config is, in steps and in epochs."""
    steps_per_epoch = max(1, len(data.train) // config.data.batch_size)
    return RunLength(config.train.total(steps_per_epoch), steps_per_epoch)
