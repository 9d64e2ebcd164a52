"""The typed view of a ConfigDict: validated once, at the edge, into frozen dataclasses."""

from __future__ import annotations

import abc
import ast
import dataclasses
import logging
import typing
from collections.abc import Mapping
from typing import Annotated, Any

from absl import flags
from ml_collections import ConfigDict, config_dict
from ml_collections.config_flags import config_flags

from ftjax.data.augmentation import of_kind, parse_augment
from ftjax.data.settings import DataSettings
from ftjax.distributed.mesh_settings import AXES, checked_axes, checked_rules
from ftjax.errors import UserError, check_name, shown
from ftjax.field_types import check_fields
from ftjax.freezing.plan.plan import FreezeSettings, as_settings
from ftjax.io.files.atomic import to_jsonable
from ftjax.io.json.json_values import JsonObject
from ftjax.optim.optimizer import OptimizerSettings
from ftjax.optim.schedule import ScheduleSettings
from ftjax.ranges import at_least
from ftjax.training.settings import TrainSettings

_log = logging.getLogger(__name__)
PRECISIONS = ('float32', 'bfloat16')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run."""

    init: str = 'glyphs'
    """The pretrained network: `glyphs`, `glyphs_cls` or `docstrings` (shipped), `data:NAME`, a
    folder or file, `hf://ORG/NAME`; `random:` before it for the same network with random
    weights."""
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of the network to replace, {'dropout': .1}; with `name`, a new network of the registry
    when `init` is empty, and otherwise what a file without config.json holds."""
    precision: str = 'float32'
    """What the network computes in. With `bfloat16` activations and products are of that dtype;
    weights that train, their moments, the loss and running statistics are float32 all the same.
    Frozen weights are too, unless `freeze.frozen_dtype` says otherwise."""
    seed: Annotated[int, at_least(0)] = 0
    """Order of the batches, new weights, dropout, augmentation. `data.seed` is the data's."""
    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    freeze: FreezeSettings = dataclasses.field(default_factory=FreezeSettings)
    optimizer: OptimizerSettings = dataclasses.field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = dataclasses.field(default_factory=ScheduleSettings)
    train: TrainSettings = dataclasses.field(default_factory=TrainSettings)
    mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Devices along `data` and `fsdp`, {'data': 4, 'fsdp': 2}: batches are shared out over both,
    leaves, optimizer state and averages over `fsdp`, where a step gathers one stage after the
    other. {}: all on `data`. It
    changes no result, so that a run may go on under another mesh."""
    mesh_rules: tuple[tuple[str, str], ...] = ()
    """(pattern, 'fsdp' or 'whole') by whole path, the first that matches decides:
    ('block_.*', 'whole') pins blocks whole on every device, so that no step moves them. Else
    every leaf of some size is shared out along `fsdp`."""

    def __post_init__(self):
        check_fields(Config, vars(self), 'config')
        check_name(self.precision, PRECISIONS, 'precision')
        asked = self.model.get('dtype')
        if self.precision != 'float32' and asked not in (None, self.precision):
            raise UserError(
                f'config.precision is {self.precision!r} and config.model.dtype {shown(asked)}; '
                'drop one of the two'
            )
        axes = {name: size for name, size in self.mesh.items() if size is not None}
        object.__setattr__(self, 'mesh', checked_axes(axes))
        object.__setattr__(self, 'mesh_rules', checked_rules(self.mesh_rules))
        size, parts = self.data.batch_size, self.optimizer.accumulate
        mixing = of_kind(parse_augment(self.data.augment), 'batches')
        if mixing and parts > 1 and self.train.class_weights:
            raise UserError(
                f'data.augment {str(mixing[0])!r} and train.class_weights do not go with '
                'optimizer.accumulate: how much a part weighs is not known before it is mixed; '
                'data.sampler weighs classes too'
            )
        if size % parts:
            raise UserError(
                f'optimizer.accumulate is {parts}; expected a number that divides '
                f'data.batch_size={size} into equal parts'
            )

    @property
    def model_options(self) -> dict[str, Any]:
        """Fields of the network to replace: `model`, and what `precision` means for it.

        >>> Config(precision='bfloat16', model={'dropout': 0.1}).model_options
        {'dropout': 0.1, 'dtype': 'bfloat16'}
        """
        more = {} if self.precision == 'float32' else {'dtype': self.precision}
        return {**self.model, **more}

    def to_json(self) -> dict[str, Any]:
        """Plain values: what config.json holds, and read_config takes back."""
        return dataclasses.asdict(self)


SECTIONS = {
    'data': DataSettings,
    'optimizer': OptimizerSettings,
    'schedule': ScheduleSettings,
    'train': TrainSettings,
}


def read_config(values: Mapping[str, object]) -> Config:
    """A Config from a ConfigDict or a plain mapping; `ablation` is read elsewhere.

    Raises UserError for an unknown key, with the nearest right one.

    >>> read_config({'freeze': 'last:2', 'data': {'batch_size': 8}}).data.batch_size
    8
    """
    given: JsonObject = plain(values)
    if not isinstance(given, dict):
        raise UserError(f'the config is {shown(given)}; expected a mapping of its keys')
    given.pop('ablation', None)
    known = [field.name for field in dataclasses.fields(Config)]
    for key in given:
        check_name(key, known, 'config key')
    for name, cls in SECTIONS.items():
        if name in given:
            given[name] = section(cls, given[name], name)
    if 'freeze' in given:
        given['freeze'] = as_settings(given['freeze'])
    return Config(**given)


def read_saved_config(values: Mapping[str, object]) -> Config:
    """As `read_config`, of the config.json of a run, which an earlier version may have written.

    A strategy beside rules had no effect, and was not refused: it is left out, with a warning.

    >>> read_saved_config({'freeze': {'rules': [['.*', 'all']], 'strategy': 'ema'}}).freeze.strategy
    'full'
    """
    freeze = values.get('freeze')
    if isinstance(freeze, Mapping) and freeze.get('rules'):
        kept = {key: value for key, value in freeze.items() if key != 'strategy'}
        if freeze.get('strategy', 'full') != 'full':
            _log.warning(
                'freeze.strategy %r of the run is left out: beside rules it had no effect',
                freeze['strategy'],
            )
        values = {**values, 'freeze': kept}
    return read_config(values)


def config_differences(one: Config, other: Config) -> list[str]:
    """Dotted keys under which two configs differ.

    >>> config_differences(Config(), read_config({'seed': 1, 'freeze': 'head'}))
    ['seed', 'freeze.strategy']
    """
    found = []
    for field in dataclasses.fields(Config):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(a):
            inner = [part.name for part in dataclasses.fields(a)]
            names = [name for name in inner if getattr(a, name) != getattr(b, name)]
            found += [f'{field.name}.{name}' for name in names]
        elif to_jsonable(a) != to_jsonable(b):  # a tuple is a list in a file
            found.append(field.name)
    return found


def section(cls: type, values: object, name: str) -> Any:
    """One section as its dataclass."""
    if dataclasses.is_dataclass(values):
        return values
    if not isinstance(values, Mapping):
        raise UserError(f'config.{name} is {values!r}; expected a section with keys')
    known = [field.name for field in dataclasses.fields(cls)]
    for key in values:
        check_name(key, known, f'key of config.{name}:')
    try:
        return cls(**values)
    except TypeError as error:
        raise UserError(f'config.{name}: {error}') from error


def plain(values: object) -> Any:
    """A ConfigDict as nested plain dicts, copied."""
    values = values.to_dict() if hasattr(values, 'to_dict') else values
    if isinstance(values, Mapping):
        return {key: plain(value) for key, value in values.items()}
    return values


def merged(base: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, Any]:
    """`base` with the keys of `changes` replaced; 'data.batch_size' reaches into a section.

    >>> merged({'data': {'seed': 0}}, {'data.seed': 1, 'freeze': 'head'})
    {'data': {'seed': 1}, 'freeze': 'head'}
    """
    result = plain(base)
    for key, value in changes.items():
        *parents, last = key.split('.')
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = plain(value)
    return result


class TextOrMapping(abc.ABC):  # noqa: B024 (kinds are registered with it)
    """The type of keys that take a text or a mapping: `freeze`, `train.class_weights`."""


for _kind in (str, dict, ConfigDict, FreezeSettings):
    TextOrMapping.register(_kind)


class _TextOrMappingParser(flags.ArgumentParser):
    """Reads `--config.freeze=`: a text, or a mapping in Python's words."""

    def parse(self, argument: object) -> object:
        if not isinstance(argument, str) or not argument.lstrip().startswith('{'):
            return argument
        try:
            return ast.literal_eval(argument)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise ValueError(
                "expected a text such as last:2, or a mapping such as {'strategy': 'last:2'}"
            ) from None

    def flag_type(self) -> str:
        return 'text or mapping'


config_flags.register_flag_parser_for_type(TextOrMapping, _TextOrMappingParser())


def template(**changes: Any) -> ConfigDict:
    """A ConfigDict with every key at its default, for config files to start from.

    Every key can then be set on the command line; those that may be None are placeholders.

    >>> config = template(freeze='last:2', data={'source': 'digits'})
    >>> config.freeze, config.train.patience is None
    ('last:2', True)
    """
    values: dict[str, object] = {'init': 'glyphs', 'precision': 'float32', 'seed': 0, 'model': {}}
    values['freeze'] = config_dict.FieldReference('full', field_type=TextOrMapping)
    values['mesh'] = {name: config_dict.placeholder(int) for name in AXES}
    values['mesh_rules'] = ()
    for name, cls in SECTIONS.items():
        kinds = typing.get_type_hints(cls)
        values[name] = {
            field.name: _start(field.default, kinds[field.name])
            for field in dataclasses.fields(cls)
        }
    config = ConfigDict(values)
    known_keys = {
        name: [field.name for field in dataclasses.fields(cls)] for name, cls in SECTIONS.items()
    }
    known_keys['mesh'] = list(AXES)
    for key, value in changes.items():
        if key in known_keys:
            for inner in value:
                check_name(inner, known_keys[key], f'key of config.{key}:')
            with config[key].ignore_type():
                config[key].update(value)
        else:
            with config.ignore_type():
                config[key] = ConfigDict(value) if isinstance(value, Mapping) else value
    return config


def _start(default: object, hint: object) -> object:
    """What stands in a template for a field: its default, of a type that the field takes."""
    if default is None:
        return config_dict.placeholder(optional_type(hint))
    kinds = {typing.get_origin(kind) or kind for kind in typing.get_args(hint)}
    if {str, Mapping} <= kinds:
        return config_dict.FieldReference(default, field_type=TextOrMapping)
    return default


def optional_type(hint: object) -> type:
    """The type X of a field that is `X | None`."""
    kind = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return typing.get_origin(kind) or kind
