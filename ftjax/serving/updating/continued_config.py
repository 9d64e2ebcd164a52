"""The config of a run that goes on from a bundle: that of the bundle's run, with other data."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from ftjax.config import SECTIONS, Config, read_saved_config, section
from ftjax.data.other_source import NOT_OF_OTHERS, same_source
from ftjax.data.settings import DataSettings
from ftjax.errors import UserError
from ftjax.runs.assessment.other_data import CUTS
from ftjax.serving.bundle.run_facts import read_run_facts

SAME = 'same'
"""Stands for the strategy of the bundle's run."""
_OF_SOURCE = ('class_names', 'encoding', 'delimiter', 'layout', 'quoting')


def config_of_bundle(bundle: pathlib.Path) -> dict[str, Any]:
    """The config of the run that a bundle is of; UserError where the bundle does not say it."""
    facts = read_run_facts(bundle)
    if not isinstance(facts.get('config'), Mapping) or 'data' not in facts['config']:
        raise UserError(
            f'{bundle} does not say which config its run had; make it anew of its run '
            '(scripts/export.py --workdir=RUN --format=bundle)'
        )
    return dict(facts['config'])


def old_settings(config: Mapping[str, Any]) -> DataSettings:
    """The data of the bundle's run."""
    return section(SECTIONS['data'], config['data'], 'data')


def new_settings(config: Mapping[str, Any], changes: Mapping[str, Any]) -> DataSettings:
    """The new data: read as the old ones, but for what names and cuts them, which is at defaults.

    Args:
      config: of the bundle's run.
      changes: fields of `config.data`, `source` among them.
    """
    if not changes.get('source'):
        raise UserError('new data are needed: --data.source=..')
    left_out = [*_left_out(config, changes), 'tokenizer']  # the bundle has its own
    kept = {name: value for name, value in config['data'].items() if name not in left_out}
    return section(SECTIONS['data'], {**kept, **changes}, 'data')


def _left_out(config: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    """Fields of the run's data that are not true of the new data."""
    same = same_source(changes['source'], config['data']['source'])
    return [*CUTS, *_OF_SOURCE, *([] if same else NOT_OF_OTHERS)]


def left_at_defaults(config: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    """Names of fields that the run had set, and that are at their defaults for the new data."""
    old, new = old_settings(config), new_settings(config, changes)
    names = [name for name in _left_out(config, changes) if name not in changes]
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def continued_config(
    config: Mapping[str, Any],
    bundle: pathlib.Path,
    data: DataSettings,
    strategy: str,
    learning_rate: float | None = None,
    epochs: float | None = None,
) -> Config:
    """The config that continues from a bundle's weights.

    Args:
      config: of the bundle's run.
      bundle: its folder.
      data: the new data.
      strategy: what trains; `same` for what trained before.
      learning_rate, epochs: others than before; None for the same.
    """
    values = {**config, 'init': str(bundle), 'model': {}, 'data': data}
    if strategy != SAME:
        values['freeze'] = strategy
    if learning_rate is not None:
        values['optimizer'] = {**config['optimizer'], 'learning_rate': learning_rate}
    if epochs is not None:
        values['train'] = {**config['train'], 'epochs': epochs, 'steps': None}
    return read_saved_config(values)
