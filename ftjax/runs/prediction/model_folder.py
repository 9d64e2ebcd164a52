"""The folder of a trained network: weights, and what says how inputs are read."""

from __future__ import annotations

import os
import pathlib

from ftjax.pretrained.own_format import save_own
from ftjax.pytrees import Variables
from ftjax.runs.prediction.how_read import how_read
from ftjax.runs.prepare import Prepared
from ftjax.tasks.threshold import Threshold


def save_model(
    folder: str | os.PathLike[str],
    prepared: Prepared,
    variables: Variables,
    threshold: Threshold | None = None,
) -> pathlib.Path:
    """Writes a folder that `open_trained` and `config.init` take; returns it."""
    config, data = prepared.config, prepared.data
    return save_own(
        folder,
        prepared.network,
        variables,
        prepared.preprocessing,
        data.class_names,
        {
            'init': config.init,
            'strategy': prepared.plan.strategy,
            'inputs': how_read(config.data, data),
        },
        threshold=threshold,
    )
