"""Tiny text encoders of transformers, default and odd; one row a case."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers
from parity_text import LABELS, blocks, case, first_token, labels, token_labels, tokens, whole
from safetensors.numpy import load_file, save_file

TINY = {
    'vocab_size': 40,
    'hidden_size': 32,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'intermediate_size': 48,
    'max_position_embeddings': 16,
}
ODD = TINY | {'hidden_act': 'relu', 'layer_norm_eps': 1e-3, 'num_hidden_layers': 3}
DISTIL = {
    'vocab_size': 40,
    'dim': 32,
    'n_layers': 2,
    'n_heads': 4,
    'hidden_dim': 48,
    'max_position_embeddings': 16,
}


def encoder(prefix: str, config, path: str = 'encoder.layer') -> dict[str, Any]:
    """Taps of the embeddings, the blocks and, after the last of them, the first token."""
    count = config.num_hidden_layers
    taps = {'embed': (f'{prefix}embeddings', whole)}
    taps |= blocks(f'{prefix}{path}', count)
    return taps | {'pool': (f'{prefix}{path}.{count - 1}', first_token)}


def with_pooler(prefix: str, config) -> dict[str, Any]:
    taps = encoder(prefix, config)
    del taps['pool']
    return taps | {'pooler': (f'{prefix}pooler', whole)}


def bert(config, **more):
    build = transformers.BertForSequenceClassification
    return case('BERT', build, config, with_pooler('bert.', config), **more)


def minilm(config, **more):
    """The base model: MiniLM's names have no prefix."""
    return case(
        'BERT',
        transformers.BertModel,
        config,
        with_pooler('', config),
        labels=labels(config.hidden_size),
        logits=lambda output: output.pooler_output,
        **more,
    )


def minilm_tokens(config, **more):
    """Without pooler: one vector a token."""
    taps = encoder('', config)
    del taps['pool']
    return case(
        'BERT',
        lambda config: transformers.BertModel(config, add_pooling_layer=False),
        config,
        taps,
        labels=token_labels(config.hidden_size),
        logits=lambda output: output.last_hidden_state,
        missing=('pooler',),
        **more,
    )


class Pooled(torch.nn.Module):
    """The sentence vector of a model whose own output is another: 'cls' or 'mean'."""

    def __init__(self, model, how):
        super().__init__()
        self.model, self.how = model, how

    def forward(self, attention_mask, **inputs):
        hidden = self.model.base_model(attention_mask=attention_mask, **inputs).last_hidden_state
        if self.how == 'cls':
            return hidden[:, 0]
        real = attention_mask[..., None].to(hidden.dtype)
        return (hidden * real).sum(1) / real.sum(1)


def pooled(family, build, config, prefix, *, how='cls', path='encoder.layer', **more):
    """A checkpoint that holds no classifier: a base model or that of another task."""
    taps = encoder(f'model.{prefix}', config, path) | {'pool': ('', whole)}
    if hasattr(config, 'embedding_size'):
        taps['embed'] = (f'model.{prefix}embeddings_project', whole)
    return case(
        family,
        lambda config: Pooled(build(config), how),
        config,
        taps,
        labels=labels(config.hidden_size),
        logits=whole,
        save=lambda model, folder: model.model.save_pretrained(folder),
        reopens=False,
        **more,
    )


def save_old(model, folder):
    """With the names of the first BERTs: gamma and beta in the norms, and position_ids."""
    model.save_pretrained(folder)
    file = folder / 'model.safetensors'
    tensors = {}
    for name, array in load_file(file).items():
        for new, old in (('weight', 'gamma'), ('bias', 'beta')):
            name = name.replace(f'LayerNorm.{new}', f'LayerNorm.{old}')
        tensors[name] = array
    tensors['bert.embeddings.position_ids'] = np.arange(16)[None]
    save_file(tensors, file)


def roberta(config, build=transformers.RobertaForSequenceClassification, family='RoBERTa', **more):
    return case(family, build, config, encoder('roberta.', config), **more)


def electra(config, **more):
    taps = encoder('electra.', config)
    if config.embedding_size != config.hidden_size:
        taps['embed'] = ('electra.embeddings_project', whole)
    return case('ELECTRA', transformers.ElectraForSequenceClassification, config, taps, **more)


def distilbert(config, **more):
    taps = encoder('distilbert.', config, 'transformer.layer')
    build = transformers.DistilBertForSequenceClassification
    return case('DistilBERT', build, config, taps, **more)


CASES = {
    'bert': bert(
        transformers.BertConfig(**TINY, num_labels=LABELS),
        inputs=tokens(40, token_types=2),
        golden=True,
    ),
    'bert_odd': bert(
        transformers.BertConfig(**ODD, type_vocab_size=3, num_labels=LABELS),
        inputs=tokens(40, token_types=3, mask=False),
    ),
    'bert_old': bert(
        transformers.BertConfig(**TINY | {'hidden_act': 'gelu_new'}, num_labels=LABELS),
        save=save_old,
        golden=True,
    ),
    'bert_minilm': minilm(transformers.BertConfig(**TINY), golden=True),
    'bert_minilm_tokens': minilm_tokens(transformers.BertConfig(**ODD), golden=True),
    'bert_mean': pooled(
        'BERT',
        transformers.BertModel,
        transformers.BertConfig(**TINY),
        '',
        how='mean',
        options={'options': {'pool': 'mean'}},
        golden=True,
    ),
    'roberta': roberta(
        transformers.RobertaConfig(**TINY, type_vocab_size=1, num_labels=LABELS),
        inputs=tokens(40, pad_id=1),
        golden=True,
    ),
    'roberta_odd': roberta(
        transformers.RobertaConfig(**ODD, pad_token_id=3, num_labels=LABELS),
        inputs=tokens(40, pad_id=3, token_types=2),
        golden=True,
    ),
    'xlm_roberta': roberta(
        transformers.XLMRobertaConfig(**TINY, type_vocab_size=1, num_labels=LABELS),
        transformers.XLMRobertaForSequenceClassification,
        inputs=tokens(40, pad_id=1),
        family='XLM-R',
    ),
    'roberta_camembert': roberta(
        transformers.CamembertConfig(**TINY, type_vocab_size=1, num_labels=LABELS),
        transformers.CamembertForSequenceClassification,
        inputs=tokens(40, pad_id=1),
    ),
    'roberta_masked': pooled(
        'RoBERTa',
        transformers.RobertaForMaskedLM,
        transformers.RobertaConfig(**TINY),
        'roberta.',
        inputs=tokens(40, pad_id=1),
    ),
    'electra': electra(
        transformers.ElectraConfig(**TINY, embedding_size=20, num_labels=LABELS),
        inputs=tokens(40, token_types=2),
        golden=True,
    ),
    'electra_odd': electra(
        transformers.ElectraConfig(**ODD, embedding_size=32, num_labels=LABELS),
    ),
    'electra_generator': pooled(
        'ELECTRA',
        transformers.ElectraForMaskedLM,
        transformers.ElectraConfig(**TINY, embedding_size=20),
        'electra.',
    ),
    'electra_discriminator': pooled(
        'ELECTRA',
        transformers.ElectraForPreTraining,
        transformers.ElectraConfig(**TINY, embedding_size=20),
        'electra.',
    ),
    'distilbert': distilbert(
        transformers.DistilBertConfig(**DISTIL, num_labels=LABELS), golden=True
    ),
    'distilbert_odd': distilbert(
        transformers.DistilBertConfig(
            **DISTIL | {'n_layers': 3},
            activation='relu',
            sinusoidal_pos_embds=True,
            num_labels=LABELS,
        ),
    ),
    'distilbert_masked': pooled(
        'DistilBERT',
        transformers.DistilBertForMaskedLM,
        transformers.DistilBertConfig(**DISTIL),
        'distilbert.',
        path='transformer.layer',
    ),
    'distilbert_base': pooled(
        'DistilBERT',
        transformers.DistilBertModel,
        transformers.DistilBertConfig(**DISTIL),
        '',
        path='transformer.layer',
    ),
}
