"""From a config to everything a run needs: data, network, variables, plan."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from ftjax.config import Config
from ftjax.data import Splits, load_data
from ftjax.data.matching import matching_preprocessing
from ftjax.errors import UserError
from ftjax.freezing.added import with_added
from ftjax.freezing.plan import Plan, make_plan
from ftjax.freezing.span import Span
from ftjax.freezing.table import plan_table
from ftjax.models.registry import build
from ftjax.models.stages import Network
from ftjax.pretrained.initialise import random_variables
from ftjax.pretrained.open import load_pretrained
from ftjax.pretrained.preprocessing import Preprocessing
from ftjax.pretrained.text_preprocessing import TextPreprocessing


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
    span: Span = dataclasses.field(default_factory=Span)

    def table(self) -> str:
        """The plan as text."""
        return plan_table(self.plan, self.config.optimizer.learning_rate)


def prepare(config: Config, data: Splits | None = None) -> Prepared:
    """Config → data → network → pretrained variables → plan.

    Raises UserError for whatever in the config, the data or the checkpoint is wrong.
    """
    data = data if data is not None else load_data(config.data)
    classes = data.num_outputs
    options = dict(config.model)
    if config.init:
        pretrained = load_pretrained(
            config.init,
            num_classes=classes,
            class_names=data.class_names or None,
            image_size=config.data.image_size,
            seed=config.seed,
            options=options or None,
        )
        network, variables = pretrained.network, pretrained.variables
        preprocessing = pretrained.preprocessing
        report, head_is_new = pretrained.report.to_json(), pretrained.report.head != 'kept'
    else:
        name = options.pop('name', None)
        if name is None:
            raise UserError("config.init is empty and config.model.name says no network: 'vit'?")
        network = build(name, {**options, 'num_classes': classes})
        variables = random_variables(network, config.seed)
        images = not hasattr(network, 'vocab_size')
        preprocessing = standard_preprocessing(network) if images else None
        report, head_is_new = {'initialised': f'all of {name}, at random'}, True
    preprocessing = matching_preprocessing(data.train, network, preprocessing, config.data)
    network, variables = with_added(config.freeze, network, variables, config.seed)
    # A run copies to the device what it needs there, in the dtype that its plan says.
    variables = jax.device_get(variables)
    span = span_of(config, data)
    plan = make_plan(
        config.freeze,
        network,
        variables,
        head_is_new=head_is_new,
        span=span,
        seed=config.seed,
    )
    return Prepared(config, data, network, variables, preprocessing, report, plan, span)


def standard_preprocessing(network: Network) -> Preprocessing:
    """For a network that came without one: its own size, pixels to [-1, 1]."""
    height, width, channels = network.example_input().shape[1:]
    half = (0.5,) * channels
    return Preprocessing(image_size=(height, width), mean=half, std=half, channels=channels)


def span_of(config: Config, data: Splits) -> Span:
    """How long the run of a config is, in steps and in epochs."""
    steps_per_epoch = max(1, len(data.train) // config.data.batch_size)
    return Span(config.train.total(steps_per_epoch), steps_per_epoch)
