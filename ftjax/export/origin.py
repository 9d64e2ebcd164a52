"""The checkpoint that a run began with, as an export carries it on: its config.json and names."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_reader import LENIENT, read_object
from ftjax.io.json.json_values import JsonObject
from ftjax.models.registry import options_of
from ftjax.models.stages import Network
from ftjax.pretrained import families, own_format
from ftjax.pretrained.checkpoint import Checkpoint
from ftjax.pretrained.config_check import check_config
from ftjax.pretrained.config_fields import known
from ftjax.pretrained.keymaps.keymap import KeyMap
from ftjax.pretrained.locate.locate import RANDOM, locate
from ftjax.pretrained.open import describe
from ftjax.pretrained.readers import TensorSource

_log = logging.getLogger(__name__)
LABELS = ('id2label', 'label2id', 'num_labels', 'problem_type')
"""What a config.json says of a head."""
LONGEST_CHAIN = 16
DTYPE = ('dtype', 'torch_dtype')
# Code that does not come along, and a second way of saying the fields of a tower, which wins.
LEFT_OUT = ('auto_map', 'vision_config_dict')
GONE = object()
"""Stands for the value of a field that is there no more."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """A checkpoint of another library that a run began with; its tensors have not been read."""

    init: str
    checkpoint: Checkpoint

    @property
    def source(self) -> TensorSource:
        """Its tensors."""
        assert self.checkpoint.source is not None
        return self.checkpoint.source

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """config.json as the file has it; {} where it is none of transformers."""
        file = self.checkpoint.folder / own_format.CONFIG
        found = read_object(file, LENIENT) if file.exists() else {}
        return found if found.get('model_type') in self._model_types else {}

    def key_map(self, network: Network) -> KeyMap:
        """The names that its tensors have."""
        return self.checkpoint.key_map(network)

    def config_of(
        self, network: Network, class_names: Sequence[str], written: JsonObject
    ) -> dict[str, object]:
        """Its config.json with what the run changed: the head, and fields of the network.

        Where that would not be read as the run's network, it is `written`.

        Args:
          network: of the run.
          class_names: of its head.
          written: the config.json that the family writes for the network by itself.
        """
        plain = {**written, **{k: v for k, v in self.config.items() if k in DTYPE}}
        if not self.config or written['model_type'] not in self._model_types:
            return plain  # another family has the class
        found = self._changed(network, class_names, written)
        return found if self._is_read_as(network, found, written) else plain

    @property
    def _model_types(self) -> tuple[str, ...]:
        return families.rows()[self.checkpoint.family].model_types

    def _is_read_as(self, network: Network, found: JsonObject, written: JsonObject) -> bool:
        """Whether a config.json says of the network at least what `written` says rightly."""
        try:
            usual = self._fields(written)
        except UserError:
            return True  # nothing to hold it against
        try:
            ours = self._fields(found)
        except UserError:
            return False
        fields = options_of(network)[1].items()
        return all(ours.get(k) == v or usual.get(k) != v for k, v in fields)

    def _fields(self, config: JsonObject) -> dict[str, Any]:
        """The fields of the network that a config.json is read as."""
        family = self.checkpoint.family
        config, _ = check_config(family, config, self.checkpoint.folder / own_format.CONFIG)
        checkpoint = dataclasses.replace(self.checkpoint, config=config, source=None)
        return options_of(checkpoint.network())[1]

    def _changed(
        self, network: Network, class_names: Sequence[str], written: JsonObject
    ) -> dict[str, object]:
        """config.json with the fields in which the families' own configs differ."""
        config = {k: v for k, v in self.config.items() if k not in LEFT_OUT}
        pool = {'pool': 'none'} if network.head_kind == 'tags' else {}
        before = self.checkpoint.network(num_classes=network.num_classes, **pool)
        family = families.module(self.checkpoint.family)
        try:
            asked = family.config_from_network(before, tuple(class_names))
        except UserError:  # transformers has no such network, but it has the run's
            return dict(written)
        changes = differing(asked, written)
        kind, own = written['model_type'], str(config['model_type'])
        if nested := next((k for k, v in written.items() if _is_config(v, own)), None):
            # A bare vision model that becomes a classifier is one part of a larger config.
            inner = {k: v for k, v in config.items() if k not in (*LABELS, 'architectures')}
            outer = {k: inner.pop(k) for k in DTYPE if k in inner}
            return {**written, **outer, nested: patched(inner, changes.get(nested, {}))}
        found = patched(config, {k: v for k, v in changes.items() if k not in LABELS}, own)
        name, prefix = written['architectures'][0], known(kind).prefix
        if kind != own and name.startswith(prefix):
            name = known(own).prefix + name.removeprefix(prefix)
        found['architectures'] = [name]
        kept = self.checkpoint.class_names
        same = name in (config.get('architectures') or ())
        same = same and self.checkpoint.network().num_classes == network.num_classes
        if network.num_classes and not (same and tuple(class_names) in ((), kept)):
            labels = {k: written[k] for k in LABELS if k in written}
            found = {k: v for k, v in found.items() if k not in LABELS} | labels
        return found


def _is_config(value: object, model_type: str) -> bool:
    return isinstance(value, Mapping) and value.get('model_type') == model_type


def differing(before: Mapping[str, object], after: JsonObject) -> dict[str, Any]:
    """The entries of `after` that `before` has not; of nested objects theirs.

    GONE stands for those that `before` has and `after` has not.

    >>> differing({'a': 1, 'b': {'c': 2, 'd': 3}}, {'a': 1, 'b': {'c': 2, 'd': 4}})
    {'b': {'d': 4}}
    """
    found = {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if inner := differing(old, value):
                found[name] = inner
        elif name not in before or old != value:
            found[name] = value
    return {**dict.fromkeys(before.keys() - after.keys(), GONE), **found}


def patched(
    config: JsonObject, changes: JsonObject, model_type: str | None = None
) -> dict[str, object]:
    """A config with some entries replaced, under whatever name of a field it has."""
    found = dict(config)
    aliases = known(model_type).aliases if model_type else {}
    for name, value in changes.items():
        other = next((alias for alias, field in aliases.items() if field == name), name)
        name = other if other in found and name not in found else name
        if value is GONE:
            found.pop(name, None)
        elif isinstance(value, Mapping):
            old = found.get(name)
            found[name] = patched(old if isinstance(old, Mapping) else {}, value)
        else:
            found[name] = value
    return found


def began_with(init: str, *, weights: bool = True) -> Iterator[tuple[str, Checkpoint]]:
    """(init, checkpoint) that a run began with, then of what that one began with, and so on.

    Args:
      init: '' for random weights, which began with nothing.
      weights: False to leave tensors alone; then the network of random weights counts, too.

    Raises:
      UserError: one of them is no longer there.
    """
    for _ in range(LONGEST_CHAIN):
        if weights and init.startswith(RANDOM):
            return
        init = init.removeprefix(RANDOM)
        if not init:
            return
        checkpoint = describe(locate(init, weights=weights), tensors=weights)
        yield init, checkpoint
        if not checkpoint.is_own:
            return
        init = str((checkpoint.config.get('provenance') or {}).get('init') or '')


def open_origin(init: str) -> Origin | None:
    """The checkpoint of another library that a run with this `init` goes back to, or None.

    A run that began with a run goes back to what that began with. None for random weights, and,
    with a warning, where the checkpoint is no longer there.
    """
    try:
        for began, checkpoint in began_with(init):
            if not checkpoint.is_own:
                exported = getattr(families.module(checkpoint.family), 'IN_TRANSFORMERS', True)
                return Origin(began, checkpoint) if exported else None
    except UserError as error:
        _log.warning(
            'the export cannot carry on the checkpoint that the run began with (%s): %s',
            init,
            error,
        )
    return None
