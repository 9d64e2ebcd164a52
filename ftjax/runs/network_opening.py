"""The network of a config for the classes of its data: described, or read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ftjax.config import Config
from ftjax.data import Splits
from ftjax.data.matching import check_takes
from ftjax.data.tables.fitted_columns import network_options, target_options
from ftjax.errors import UserError
from ftjax.leaves import unflatten
from ftjax.models.registry import build, family, fields_of, is_recipe
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.preprocessing.texts import TextPreprocessing
from ftjax.pretrained.initialise import leaf_shapes, random_variables
from ftjax.pytrees import Variables

if TYPE_CHECKING:
    from ftjax.pretrained.outline import BuiltOutline, Outline
    from ftjax.pretrained.strict_load import Held


@dataclasses.dataclass(frozen=True)
class Opened:
    """A network as the checkpoint gives it to a task, before the plan is made."""

    network: Network
    variables: Variables
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


def in_float32(key: str, have: np.dtype) -> np.dtype:
    """Holds every parameter in float32, for plans that are not known yet."""
    del key, have
    return np.dtype(np.float32)


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
        from ftjax.pretrained.open import outline  # a network at random needs no reader

        def outlined(more: Mapping[str, object]) -> Outline | BuiltOutline:
            try:
                return outline(
                    config.init,
                    num_classes=classes,
                    class_names=data.class_names or None,
                    image_size=config.data.image_size,
                    seed=config.seed,
                    options={**more, **options} or None,
                )
            except UserError:
                _check_kind(config, data)
                raise

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
    try:
        network = build(name, {'num_classes': classes, **sizes, **options})
    except UserError:
        _check_kind(config, data)
        raise
    return Unopened(
        network,
        unflatten(leaf_shapes(network)),
        standard_preprocessing(network) if network.takes == 'images' else None,
        True,
        lambda held: {'initialised': f'all of {name}, at random'},
        lambda held: jax.device_get(random_variables(network, config.seed)),
    )


def _check_kind(config: Config, data: Splits) -> None:
    """UserError where the network takes another kind of input, whose options the task's are not."""
    options = config.model_options
    try:
        if config.init:
            from ftjax.pretrained.open import outline

            network = outline(config.init, options=options or None).network
        else:
            network = build(options.pop('name'), options)
    except UserError:
        return
    check_takes(data.train, type(network).__name__, network.takes)


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
