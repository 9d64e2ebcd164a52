"""Tiny text encoders of transformers: ModernBERT, DeBERTa, MPNet, ALBERT; one row a case."""

from __future__ import annotations

import torch
import transformers
from parity_encoders import ODD, TINY, encoder, pooled
from parity_text import (
    LABELS,
    blocks,
    case,
    first_token,
    token_labels,
    tokens,
    whole,
)

# Longer than the window and than the distances that count one by one.
LONG = (14, 9, 3)
MODERN = {
    'vocab_size': 40,
    'hidden_size': 32,
    'num_hidden_layers': 4,
    'num_attention_heads': 4,
    'intermediate_size': 24,
    'max_position_embeddings': 32,
    'local_attention': 6,
    'pad_token_id': 0,
}
V3 = TINY | {
    'type_vocab_size': 0,
    'relative_attention': True,
    'position_buckets': 4,
    'norm_rel_ebd': 'layer_norm',
    'share_att_key': True,
    'pos_att_type': 'p2c|c2p',
    'position_biased_input': False,
}
V2 = V3 | {
    'share_att_key': False,
    'pos_att_type': ['c2p'],
    'norm_rel_ebd': 'none',
    'position_buckets': -1,
    'max_relative_positions': 5,
}


def modernbert(config, pool=first_token, **more):
    taps = {
        'embed': ('model.embeddings', whole),
        **blocks('model.layers', config.num_hidden_layers),
        'norm': ('model.final_norm', pool),
        'pooler': ('head', whole),
    }
    more.setdefault('inputs', tokens(config.vocab_size, lengths=LONG))
    build = transformers.ModernBertForSequenceClassification
    return case('ModernBERT', build, config, taps, **more)


def mean_of_real(output):
    """The mean over the sentences of LONG."""
    real = torch.arange(max(LONG)) < torch.tensor(LONG)[:, None]
    return (output * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def modernbert_tokens(config, **more):
    taps = {
        'embed': ('embeddings', whole),
        **blocks('layers', config.num_hidden_layers),
        'norm': ('final_norm', whole),
    }
    return case(
        'ModernBERT',
        transformers.ModernBertModel,
        config,
        taps,
        inputs=tokens(config.vocab_size, lengths=LONG),
        labels=token_labels(config.hidden_size, LONG),
        logits=lambda output: output.last_hidden_state,
        options={'options': {'pool': 'none'}},
        **more,
    )


def deberta(config, **more):
    taps = {
        'embed': ('deberta.embeddings', whole),
        **blocks('deberta.encoder.layer', config.num_hidden_layers),
        'pooler': ('pooler', whole),
    }
    if getattr(config, 'conv_kernel_size', 0):
        taps['block_00'] = ('deberta.encoder.conv', whole)
    more.setdefault('inputs', tokens(config.vocab_size, lengths=LONG))
    build = transformers.DebertaV2ForSequenceClassification
    return case('DeBERTa V2, V3', build, config, taps, **more)


def deberta_tokens(config, **more):
    """The base model, which has no pooler: one vector a token."""
    taps = {
        'embed': ('embeddings', whole),
        **blocks('encoder.layer', config.num_hidden_layers),
    }
    return case(
        'DeBERTa V2, V3',
        transformers.DebertaV2Model,
        config,
        taps,
        inputs=tokens(config.vocab_size, lengths=LONG),
        labels=token_labels(config.hidden_size, LONG),
        logits=lambda output: output.last_hidden_state,
        **more,
    )


def mpnet(config, **more):
    taps = encoder('mpnet.', config)
    build = transformers.MPNetForSequenceClassification
    return case('MPNet', build, config, taps, inputs=tokens(40, pad_id=1), **more)


def albert(config, **more):
    """A group of layers runs as often as there are layers: its last run is the block's output."""
    taps = {
        'embed': ('albert.encoder.embedding_hidden_mapping_in', whole),
        'pooler': ('albert.pooler_activation', whole),
    }
    for group in range(config.num_hidden_groups):
        taps[f'block_{group:02d}'] = (f'albert.encoder.albert_layer_groups.{group}', LastRun(whole))
    build = transformers.AlbertForSequenceClassification
    return case('ALBERT', build, config, taps, **more)


class LastRun:
    """Marks a tap of which the last output counts, not the first."""

    last = True

    def __init__(self, select):
        self.select = select

    def __call__(self, output):
        return self.select(output)


CASES = {
    'modernbert': modernbert(
        transformers.ModernBertConfig(**MODERN, num_labels=LABELS), golden=True
    ),
    'modernbert_odd': modernbert(
        transformers.ModernBertConfig(
            **MODERN | {'num_hidden_layers': 3, 'intermediate_size': 40},
            layer_types=['sliding_attention', 'full_attention', 'sliding_attention'],
            rope_parameters={
                'full_attention': {'rope_type': 'linear', 'factor': 2.0, 'rope_theta': 70.0},
                'sliding_attention': {'rope_type': 'default', 'rope_theta': 30.0},
            },
            hidden_activation='relu',
            classifier_activation='silu',
            classifier_pooling='mean',
            classifier_bias=True,
            norm_bias=True,
            norm_eps=1e-3,
            attention_bias=True,
            mlp_bias=True,
            num_labels=LABELS,
        ),
        pool=mean_of_real,
    ),
    'modernbert_tokens': modernbert_tokens(
        transformers.ModernBertConfig(**MODERN | {'num_hidden_layers': 2})
    ),
    'deberta': deberta(transformers.DebertaV2Config(**V3, num_labels=LABELS), golden=True),
    'deberta_odd': deberta(
        transformers.DebertaV2Config(
            **V2 | {'num_hidden_layers': 3, 'hidden_act': 'relu', 'layer_norm_eps': 1e-3},
            embedding_size=20,
            pooler_hidden_act='tanh',
            num_labels=LABELS,
        )
    ),
    # As the large V2.
    'deberta_conv': deberta(
        transformers.DebertaV2Config(
            **V3 | {'position_biased_input': True, 'type_vocab_size': 2},
            conv_kernel_size=3,
            conv_act='gelu',
            conv_groups=2,
            num_labels=LABELS,
        ),
        inputs=tokens(40, lengths=LONG, token_types=2),
        golden=True,
    ),
    'deberta_p2c': deberta_tokens(transformers.DebertaV2Config(**V2 | {'pos_att_type': ['p2c']})),
    'deberta_plain': deberta(
        transformers.DebertaV2Config(
            **TINY | {'type_vocab_size': 0}, relative_attention=False, num_labels=LABELS
        )
    ),
    'mpnet': mpnet(transformers.MPNetConfig(**TINY, num_labels=LABELS), golden=True),
    'mpnet_odd': mpnet(
        transformers.MPNetConfig(**ODD | {'hidden_dropout_prob': 0.2}, num_labels=LABELS)
    ),
    'mpnet_mean': pooled(
        'MPNet',
        transformers.MPNetModel,
        transformers.MPNetConfig(**TINY),
        '',
        how='mean',
        inputs=tokens(40, pad_id=1),
        options={'options': {'pool': 'mean'}},
    ),
    'albert': albert(
        transformers.AlbertConfig(
            **TINY | {'num_hidden_layers': 3}, embedding_size=12, num_labels=LABELS
        ),
        inputs=tokens(40, token_types=2),
        golden=True,
    ),
    'albert_odd': albert(
        transformers.AlbertConfig(
            **ODD | {'num_hidden_layers': 5},
            embedding_size=12,
            num_hidden_groups=2,
            num_labels=LABELS,
        ),
    ),
}
