"""A checkpoint whose network is that of an adapter's base, with the adapter merged."""

from __future__ import annotations

import dataclasses
import re

from ftjax.errors import UserError
from ftjax.io.json.json_values import JsonObject
from ftjax.pretrained import own_format
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
# The last layer of a head; DistilBERT's pre_classifier and RoBERTa's classifier.dense are none.
HEAD = re.compile(r'(.*\.)?(classifier|score|cls_classifier)(\.(out_proj|\d+))?\.weight')
TABLE = re.compile(r'(.*\.)?(wte|embed_tokens|word_embeddings|lm_head)\.weight')
MOST_CLASSES = 10**7


def merged_checkpoint(
    adapter: AdapterFolder, base: Checkpoint, revision: str | None = None
) -> Checkpoint:
    """The base's checkpoint with the adapter's tensors, and the head that came along.

    Args:
      adapter: with its configuration.
      base: the network that it was trained on.
      revision: the adapter's commit, where it is from the hub.

    Raises:
      UserError: the base is in our own format, or the adapter does not fit it.
    """
    if base.is_own:
        raise UserError(
            f'{adapter.path / CONFIG}: the base {base.folder} is in the format of ftjax, whose '
            'names are not those of PEFT; expected a network in the format of transformers'
        )
    has_tokenizer = (adapter.path / own_format.TOKENIZER).exists()
    texts = adapter.path if has_tokenizer else base.texts
    commit = revision or base.revision
    if base.source is None:
        return dataclasses.replace(base, revision=commit, texts=texts)
    source = MergedSource(base.source, adapter, base.family)
    check_ties(adapter, base, source)
    note = f'the {adapter.kind} adapter of {adapter.path} was merged into {adapter.base}'
    return dataclasses.replace(
        base,
        config=with_sizes(base, adapter.fields, source),
        source=source,
        revision=commit,
        texts=texts,
        notes=(*base.notes, note),
    )


def check_ties(adapter: AdapterFolder, base: Checkpoint, source: MergedSource) -> None:
    """UserError where an adapter changes a table that the output shares, and not the output.

    In PEFT the output then keeps the table as it was, unless `ensure_weight_tying` is set.
    """
    writes = re.search(r'(LMHeadModel|ForCausalLM)$', architecture(base.config))
    tables = [name for name in source.changed if TABLE.fullmatch(name)]
    both = adapter.fields.get('ensure_weight_tying') or len(tables) > 1
    if writes and tables and not both and base.network().ties:
        raise UserError(
            f'{adapter.path}: the adapter changes {tables[0]}, which embeds and scores tokens in '
            f'{base.folder}; PEFT changes one of both unless ensure_weight_tying is set; in PEFT, '
            '`model.merge_and_unload().save_pretrained(FOLDER)` writes both'
        )


def with_sizes(base: Checkpoint, fields: JsonObject, source: MergedSource) -> JsonObject:
    """The base's configuration, for the head and the table of tokens that come along."""
    changed = dict(base.config)
    for name in source.whole:
        rows = source.shape(name)[0] if source.shape(name) else 0
        if TABLE.fullmatch(name) and 'vocab_size' in changed:
            changed['vocab_size'] = rows
        if HEAD.fullmatch(name):
            if not 0 < rows <= MOST_CLASSES:
                raise UserError(f'{name} of the adapter has shape {source.shape(name)}')
            changed |= head_fields(base, fields, rows, name)
    return changed


def head_fields(base: Checkpoint, fields: JsonObject, rows: int, name: str) -> JsonObject:
    """What config.json says of a head of so many classes."""
    saved = architecture(base.config)
    own = (fields.get('auto_mapping') or {}).get('base_model_class')
    if not isinstance(own, str):
        ending = CLASSES.get(fields.get('task_type') or '')
        own = re.sub(r'(For\w+|Model|LMHeadModel)$', '', saved) + ending if ending else saved
    known = base.config.get('id2label') or ()
    assert base.source is not None
    same = len(known) == rows and name in base.source.names
    return {'architectures': [own], **({} if same else label_fields(rows, ()))}
