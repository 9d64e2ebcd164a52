"""calibration.json beside a model's weights: what was fitted on validation data, and for which."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from ftjax.errors import UserError
from ftjax.io.files.atomic import write_json
from ftjax.io.json.json_reader import read_object
from ftjax.io.json.json_values import JsonObject
from ftjax.io.json.stored_fields import check_fields_of
from ftjax.pretrained.own_format import CONFIG
from ftjax.runs.prediction.trained import Trained

FILE = 'calibration.json'
_FIELDS = {'n': int, 'temperature': float, 'threshold': float, 'quantiles': dict, 'weights': str}


def save_calibration(model: pathlib.Path, fitted: JsonObject) -> pathlib.Path:
    """Writes what a task's `calibration` gave, with the hash of the weights it is for."""
    write_json(model / FILE, {**fitted, 'weights': _weights(model)})
    return model / FILE


def read_calibration(trained: Trained) -> Mapping[str, object] | None:
    """What was fitted for a network; None where nothing was.

    Raises:
      UserError: the file is damaged, or of other weights than lie beside it.
    """
    if trained.fitted is not None:
        return trained.fitted
    if trained.model is None or not (trained.model / FILE).exists():
        return None
    path = trained.model / FILE
    found = read_object(path)
    check_fields_of(found, str(path), _FIELDS, optional=('threshold',))
    quantiles, threshold = found['quantiles'], found.get('threshold')
    numbers = [*quantiles.values(), threshold]
    if any(isinstance(n, bool) or not isinstance(n, (int, float, type(None))) for n in numbers):
        raise UserError(f'{path}: quantiles and threshold hold something that is no number')
    if not found['temperature'] > 0 or not (threshold is None or 0 < threshold < 1):
        raise UserError(f'{path}: temperature or threshold is out of range; fit it anew')
    if found['weights'] != _weights(trained.model):
        raise UserError(
            f'{path} was fitted for other weights; fit it anew (scripts/evaluate.py --calibrate) '
            'or remove it'
        )
    return found


def _weights(model: pathlib.Path) -> str:
    return str(read_object(model / CONFIG).get('weights_sha256'))
