"""A checkpoint whose network is that of an adapter's base, with the adapter merged."""

from __future__ import annotations

import dataclasses
import re

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.pretrained.checkpoint import Checkpoint
from ftjax.pretrained.keymaps.hf_config import architecture, label_fields
from ftjax.pretrained.peft.adapter_folder import CONFIG, AdapterFolder
from ftjax.pretrained.peft.merged_source import MergedSource

# `task_type` of PEFT -> how the class of a network for it ends in transformers.
CLASSES = {
    'SEQ_CLS': 'ForSequenceClassification',
    'TOKEN_CLS': 'ForTokenClassification',
    'CAUSAL_LM': 'ForCausalLM',
}


def merged_checkpoint(adapter: AdapterFolder, base: Checkpoint) -> Checkpoint:
    """The base's checkpoint with the adapter's tensors, and the head that came along.

    Raises:
      UserError: the base is in our own format, or the adapter does not fit it.
    """
    if base.is_own:
        raise UserError(
            f'{adapter.path / CONFIG}: the base {base.folder} is in the format of ftjax, whose '
            'names are not those of PEFT; expected a network in the format of transformers'
        )
    if base.source is None:
        return base
    source = MergedSource(base.source, adapter, base.family)
    config = with_head(base.config, adapter.fields, source, base.source.names)
    note = (
        f'the {adapter.kind} adapter of {adapter.path} was merged into the weights of {base.folder}'
    )
    return dataclasses.replace(base, config=config, source=source, notes=(*base.notes, note))


def with_head(
    config: JsonObject, fields: JsonObject, source: MergedSource, names: tuple[str, ...]
) -> JsonObject:
    """The base's configuration, for the classes of a head that the adapter brings along."""
    heads = [name for name in source.whole if re.search(r'(classifier|score)\b.*weight$', name)]
    if not heads:
        return config
    own = (fields.get('auto_mapping') or {}).get('base_model_class')
    ending = CLASSES.get(fields.get('task_type') or '')
    saved = architecture(config)
    if not own and ending:
        own = re.sub(r'(For\w+|Model|LMHeadModel)$', '', saved) + ending
    classes = source.shape(heads[-1])[0]
    changed = {**config, 'architectures': [own or saved]}
    known = config.get('id2label')
    if not (known and len(known) == classes and set(heads) & set(names)):
        changed |= label_fields(classes, ())
    return changed
