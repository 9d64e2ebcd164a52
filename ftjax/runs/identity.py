"""What a run was made from: its data, weights and code, each by a hash; commit and versions.

The same record stands in checkpoints, result.json, the rows of an ablation and the model card, so
that a number can be held against what made it. Data are hashed as they are read: arrays and texts
in memory, of image files and TFDS shards all bytes. Of weights see pretrained/weights_identity.py.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from ftjax.config import Config
from ftjax.data import Splits
from ftjax.data.dataset import READ_LATER, joint_fingerprint
from ftjax.errors import UserError
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.json.json_values import JsonObject
from ftjax.io.process.provenance import git_state, versions
from ftjax.models.stages import Network
from ftjax.pretrained.weights_identity import weights_hash, weights_of
from ftjax.runs.own_code import baseline_code, code_of
from ftjax.runs.prepare import Prepared
from ftjax.training.feature_cache.key import compared, described


def run_identity(
    prepared: Prepared,
    further: Mapping[str, str] | None = None,
    *,
    metrics: Collection[str] = (),
    baseline: object = None,
) -> dict[str, object]:
    """The identity of a run's inputs, ready for JSON.

    Args:
      prepared: the run.
      further: fingerprints of further test sets, by name.
      metrics: that judge it beside those of its config.
      baseline: of an ablation, which computes in the network's place.

    Raises:
      UserError: a file of the data that is no longer there.
    """
    found = {
        'data': data_identity(prepared.data, further),
        'weights': weights_identity(prepared),
        'code': code_of(prepared.config, prepared.network, metrics, baseline),
        **_code_state(),
    }
    return to_jsonable(found)


def data_identity(data: Splits, further: Mapping[str, str] | None = None) -> dict[str, object]:
    """Fingerprints of the splits, of all three together, of unlabelled examples and of columns."""
    found = {name: getattr(data, name).fingerprint for name in ('train', 'val', 'test')}
    unlabelled = data.unlabelled
    columns = {name: column.identity for name, column in data.train.columns.items()}
    return {
        'kind': data.train.kind,
        **found,
        'all': joint_fingerprint(**found),
        **({'columns': columns} if columns else {}),
        **({} if unlabelled is None else {'unlabelled': unlabelled.fingerprint}),
        **({'further': dict(further)} if further else {}),
    }


def baseline_identity(data: Splits, baseline: object) -> dict[str, object]:
    """The identity of what is computed from data alone, without a network."""
    code = baseline_code(baseline)
    return {'data': data_identity(data), **({'code': code} if code else {}), **_code_state()}


def data_changed(data: Splits, identity: JsonObject) -> str:
    """What has happened to the data's files since an identity was taken; '' for nothing.

    Data that were read whole before the run are what they were: nothing is looked at.
    """
    for name in ('train', 'val', 'test', 'unlabelled'):
        split = getattr(data, name)
        if split is None or split.kind not in READ_LATER:
            continue
        said = 'unlabelled examples' if name == 'unlabelled' else f'{name} split'
        try:
            if split.fingerprint != identity['data'][name]:
                return f'files of the {said} ({split.name}) changed while the run was going'
        except UserError as error:
            return f'files of the {said} changed while the run was going: {error}'
    return ''


def weights_identity(prepared: Prepared) -> dict[str, object]:
    """Hashes of the weights that a run starts from, of their network and preprocessing."""
    prep = prepared.preprocessing
    network = prepared.network if prepared.opened is None else prepared.opened.network
    return {
        **opened_weights(prepared),
        **({'importance': weights_hash(prepared.importance)} if prepared.importance else {}),
        'network': _hash(options_set(network)),
        **(
            {} if prep is None else {'preprocessing': _hash(_beyond_defaults(prep, compared(prep)))}
        ),
    }


def options_set(network: Network) -> object:
    """Family and fields of a network, without those at their defaults.

    A later version may have more fields: networks that do without are the same.
    """
    found = described(network)
    return [found[0], _beyond_defaults(network, found[1])] if isinstance(found, list) else found


def _beyond_defaults(thing: Any, values: Mapping[str, object]) -> dict[str, object]:
    """Those fields of a dataclass that are not at their defaults, ready for JSON."""
    defaults = {field.name: field.default for field in dataclasses.fields(thing)}
    ready = {name: to_jsonable(value) for name, value in values.items()}
    missing = dataclasses.MISSING
    return {
        name: value
        for name, value in ready.items()
        if defaults[name] is missing or to_jsonable(defaults[name]) != value
    }


def opened_weights(prepared: Prepared) -> dict[str, object]:
    """`loaded`, a hash, and `random`, a sketch, of the leaves that a checkpoint gave."""
    opened = prepared.opened
    if opened is None:
        return {'loaded': weights_hash(prepared.variables)}
    known = vars(opened).get('_identity')
    if known is None:  # kept with the network, because runs share it
        known = weights_of(opened.variables, opened.report)
        object.__setattr__(opened, '_identity', known)
    return known


def flat_config(config: Config) -> dict[str, object]:
    """{'data.batch_size': 32}: the config's values by dotted keys, ready for JSON."""
    found = {}
    for name, value in to_jsonable(config.to_json()).items():
        if isinstance(value, dict) and name != 'model':
            found |= {f'{name}.{key}': inner for key, inner in value.items()}
        else:
            found[name] = value
    return found


@functools.cache
def _code_state() -> dict[str, object]:
    """Commit and versions, of the moment when this process first asked."""
    return {**(git_state() or {'commit': None}), 'versions': versions()}


def _hash(value: object) -> str:
    text = json.dumps(to_jsonable(value), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
