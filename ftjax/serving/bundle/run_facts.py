"""run.json: of which run a bundle is: config, data fingerprint, metrics with intervals.

The scores of the single test examples are among the metrics, so that two bundles can be compared
example by example without their data.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.io.files.atomic import write_json
from ftjax.io.json.json_reader import JsonLimits, read_object
from ftjax.io.json.json_values import Kind, Table, Text, check_table, optional

FILE = 'run.json'
LIMITS = JsonLimits(size=2**26, depth=20, duplicates=False)
_KINDS: dict[str, Kind] = {
    'config': Table(),
    'metrics': Table(),
    'data': Table(),
    'strategy': optional(Text(longest=1000)),
    'created': optional(Text(longest=100)),
    'command': optional(Text(longest=100_000)),
}
_SPLITS: dict[str, Kind] = {name: optional(Text(longest=200)) for name in ('train', 'val', 'test')}
"""Fingerprints; what else is said of the data may be of any kind in bundles made before."""


def write_run_facts(
    folder: pathlib.Path, config: Mapping[str, Any], result: Mapping[str, Any]
) -> None:
    """Writes run.json from config.json and result.json of a finished run."""
    metrics = {
        name: value
        for name, value in result.get('metrics', {}).items()
        if name == 'examples' or not isinstance(value, dict | list) or name.endswith('_interval')
    }
    made = result.get('provenance') or {}
    data = (result.get('identity') or {}).get('data') or {}
    told = {
        'config': config,
        'strategy': result.get('strategy'),
        'seed': result.get('seed'),
        'steps': result.get('steps'),
        'data': {name: value for name, value in data.items() if isinstance(value, str)},
        'metrics': metrics,
        'created': made.get('created'),
        'command': made.get('command'),
        'commit': (made.get('git') or {}).get('commit'),
    }
    write_json(folder / FILE, told)


def read_run_facts(folder: pathlib.Path) -> dict[str, Any]:
    """What run.json says; {} for a bundle that was made before there was one.

    Raises:
      UserError: fields of another kind.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    found = read_object(path, LIMITS)
    check_run_facts(found, str(path))
    return found


def check_run_facts(found: Mapping[str, Any], where: str) -> None:
    """UserError for fields of another kind."""
    check_table(found, _KINDS, where)
    check_table(found.get('data', {}), _SPLITS, f'{where}: data')
