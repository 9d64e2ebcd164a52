"""A model that was built in Python, opened for a run."""

from __future__ import annotations

import dataclasses

import jax

from ftjax.config import Config
from ftjax.data import Splits
from ftjax.errors import check_name
from ftjax.models.built.network import Built
from ftjax.pretrained.built_models import open_model
from ftjax.runs.network_opening import Opened


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
