"""`own_family`: checkpoints of a network of your own, by a key map and little else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftjax.errors import UserError, check_name, did_you_mean, shown
from ftjax.models.registry import build, family, fields_of, options_of
from ftjax.models.stages import Network
from ftjax.preprocessing.images import Preprocessing
from ftjax.pretrained.families import Row
from ftjax.pretrained.keymaps.keymap import KeyMap, Rule
from ftjax.registry import register

INERT = frozenset(
    {
        *('model_type', 'architectures', 'transformers_version', '_name_or_path', 'torch_dtype'),
        *('dtype', 'id2label', 'label2id', 'num_labels'),
    }
)
"""Keys of a config.json that say nothing of what a network computes, or only how many classes."""


class OwnFamily:
    """What other families are modules for, see `families/__init__.py`, for one network."""

    IN_TRANSFORMERS = False

    def __init__(
        self,
        model: str,
        maps: tuple[KeyMap, ...],
        preprocessing: Preprocessing | None,
        fields: Mapping[str, str | None],
    ):
        self.model, self.maps, self.fields = model, maps, dict(fields)
        if preprocessing is not None:
            self.preprocessing = lambda config: preprocessing

    def key_map(self, config: Mapping[str, object]) -> tuple[KeyMap, ...]:
        """One map for each way of naming the tensors."""
        del config
        return self.maps

    def network_from_config(self, config: Mapping[str, object], **overrides: object) -> Network:
        """The network of a config.json; UserError for a key that nobody reads."""
        known, options = fields_of(family(self.model)), {}
        for key, value in config.items():
            if key in self.fields:
                field = self.fields[key]
                if field is not None:
                    options[check_name(field, known, f'field of {self.model}:')] = value
            elif key in known:
                options[key] = value
            elif key not in INERT:
                raise UserError(
                    f'config.json: nobody reads {shown(key)}; {did_you_mean(key, known)} Name it '
                    f'in own_family(.., fields={{{key!r}: FIELD}}); None if it changes nothing'
                )
        classes = config.get('id2label')
        if 'num_classes' not in options and isinstance(classes, Mapping):
            options['num_classes'] = len(classes)
        return build(self.model, {**options, **overrides})

    def config_from_network(self, network: Network, labels: Sequence[str]) -> dict[str, Any]:
        """Its fields, as a config.json."""
        names = {field: key for key, field in self.fields.items() if field is not None}
        options = {names.get(key, key): value for key, value in options_of(network)[1].items()}
        found = {'model_type': self.model, **options}
        return {**found, 'id2label': dict(enumerate(labels))} if labels else found


def own_family(
    model: str,
    *maps: KeyMap | Sequence[Rule],
    preprocessing: Preprocessing | None = None,
    fields: Mapping[str, str | None] | None = None,
    model_types: Sequence[str] = (),
    tensors: Sequence[str] = (),
) -> OwnFamily:
    """Lets `config.init=FOLDER` open checkpoints of a registered network.

    Args:
      model: the network's name in `@register('model', NAME)`.
      *maps: the tensors' names and the leaves that they become; several for several ways of
        naming them, of which that is taken that explains most.
      preprocessing: of images, where no preprocessor_config.json lies beside the weights.
      fields: keys of their config.json by the network's field, {'hidden_size': 'width'}; None for
        one that changes nothing. Keys of the same name as a field need no mention.
      model_types: values of config.json's `model_type`; the network's name unless given.
      tensors: patterns of names, all of which are in a file without config.json.

    Raises:
      UserError: of the first load, for a key of config.json that nobody reads.
    """
    found = [
        each if isinstance(each, KeyMap) else KeyMap(f'{model} ({number})', tuple(each))
        for number, each in enumerate(maps, 1)
    ]
    made = OwnFamily(model, tuple(found), preprocessing, fields or {})
    row = Row(models=(model,), model_types=tuple(model_types) or (model,), tensors=tuple(tensors))
    register('family', model, details=row)(made)
    return made
