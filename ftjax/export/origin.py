"""The checkpoint that a run began with, as an export carries it on: its config.json and names."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError
from ftjax.io.json.json_reader import LENIENT, read_object
from ftjax.io.json.json_values import JsonObject
from ftjax.models.stages import Network
from ftjax.pretrained import families, own_format
from ftjax.pretrained.checkpoint import Checkpoint
from ftjax.pretrained.config_fields import known
from ftjax.pretrained.keymaps.keymap import KeyMap
from ftjax.pretrained.locate.locate import RANDOM, locate
from ftjax.pretrained.open import describe
from ftjax.pretrained.readers import TensorSource

_log = logging.getLogger(__name__)
LABELS = ('id2label', 'label2id', 'num_labels', 'problem_type')
"""What a config.json says of a head."""
LONGEST_CHAIN = 16


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
        types = families.rows()[self.checkpoint.family].model_types
        return found if found.get('model_type') in types else {}

    def key_map(self, network: Network) -> KeyMap:
        """The names that its tensors have."""
        return self.checkpoint.key_map(network)

    def config_of(
        self, network: Network, class_names: Sequence[str], written: JsonObject
    ) -> dict[str, object]:
        """Its config.json with what the run changed: the head, and fields of the network.

        Args:
          network: of the run.
          class_names: of its head.
          written: the config.json that the family writes for the network by itself.
        """
        if not self.config:
            return dict(written)
        before = self.checkpoint.network(num_classes=network.num_classes)
        family = families.module(self.checkpoint.family)
        try:
            asked = family.config_from_network(before, tuple(class_names))
        except UserError:  # transformers has no such network, but it has the run's
            return dict(written)
        changes = differing(asked, written)
        kind, own = written['model_type'], str(self.config['model_type'])
        if nested := next((k for k, v in written.items() if _is_config(v, own)), None):
            # A bare vision model that becomes a classifier is one part of a larger config.
            inner = {k: v for k, v in self.config.items() if k not in (*LABELS, 'architectures')}
            outer = {k: inner.pop(k) for k in ('dtype', 'torch_dtype') if k in inner}
            inner = patched(inner, changes.pop(nested, {}))
            return {**written, **changes, **outer, nested: inner}
        ending = written['architectures'][0].removeprefix(known(kind).prefix)
        found = patched(self.config, {k: v for k, v in changes.items() if k not in LABELS}, own)
        found['architectures'] = [known(own).prefix + ending]
        kept = self.checkpoint.class_names
        same = found['architectures'][0] in (self.config.get('architectures') or ())
        if network.num_classes and not (same and tuple(class_names) in ((), kept)):
            labels = {k: written[k] for k in LABELS if k in written}
            found = {k: v for k, v in found.items() if k not in LABELS} | labels
        return found


def _is_config(value: object, model_type: str) -> bool:
    return isinstance(value, Mapping) and value.get('model_type') == model_type


def differing(before: Mapping[str, object], after: JsonObject) -> dict[str, Any]:
    """The entries of `after` that `before` has not; of nested objects theirs.

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
    return found


def patched(
    config: JsonObject, changes: JsonObject, model_type: str | None = None
) -> dict[str, object]:
    """A config with some entries replaced, under whatever name of a field it has."""
    found = dict(config)
    aliases = known(model_type).aliases if model_type else {}
    for name, value in changes.items():
        other = next((alias for alias, field in aliases.items() if field == name), name)
        name = other if other in found and name not in found else name
        if isinstance(value, Mapping) and isinstance(found.get(name), Mapping):
            found[name] = patched(found[name], value)
        else:
            found[name] = value
    return found


def open_origin(init: str) -> Origin | None:
    """The checkpoint of another library that a run with this `init` goes back to, or None.

    A run that began with a run goes back to what that began with. None for random weights, and,
    with a warning, where the checkpoint is no longer there.
    """
    began = init
    try:
        for _ in range(LONGEST_CHAIN):
            if not init or init.startswith(RANDOM):
                return None
            checkpoint = describe(locate(init))
            if not checkpoint.is_own:
                exported = getattr(families.module(checkpoint.family), 'IN_TRANSFORMERS', True)
                return Origin(init, checkpoint) if exported else None
            init = str((checkpoint.config.get('provenance') or {}).get('init') or '')
    except UserError as error:
        _log.warning(
            'the export cannot carry on the checkpoint that the run began with (%s): %s',
            began,
            error,
        )
    return None
