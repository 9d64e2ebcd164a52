"""Tiny decoders of Llama's form: Gemma 1 to 3, OLMo 2, Phi-3; one row a case."""

from __future__ import annotations

import transformers
from parity_decoders import CLASSES, LABELS, LLAMA, decoder, last, of_base

LM = 'ForCausalLM'
GEMMA = LLAMA | {'head_dim': 12, 'bos_token_id': 1, 'eos_token_id': 2}
GEMMA2 = GEMMA | {
    'sliding_window': 4,
    'attn_logit_softcapping': 1.5,
    'final_logit_softcapping': 2.0,
    'query_pre_attn_scalar': 7,
    'attn_implementation': 'eager',  # the others pass over the bound on scores
}
GEMMA3 = GEMMA | {'num_hidden_layers': 3, 'sliding_window': 3, 'query_pre_attn_scalar': 9}
# Three factors a head of 12 of which half is turned.
LONG = {
    'rope_type': 'longrope',
    'rope_theta': 50.0,
    'partial_rotary_factor': 0.5,
    'short_factor': [1.0, 1.25],
    'long_factor': [1.5, 3.0],
}


def relative(family, cls, config, **more):
    base = '' if cls.endswith('Model') else 'model.'
    paths = {'embed': f'{base}embed_tokens', 'blocks': f'{base}layers', 'norm': f'{base}norm'}
    more.setdefault('lm', cls.endswith(LM))
    return decoder(family, getattr(transformers, cls), config, paths, **more)


def gemma3(kind, config, **more):
    return relative('Gemma 3', f'Gemma3{"" if kind == LM else "Text"}{kind}', config, **more)


CASES = {
    'gemma': relative(
        'Gemma',
        f'Gemma{CLASSES}',
        transformers.GemmaConfig(**GEMMA, num_labels=LABELS),
        golden=True,
    ),
    'gemma_odd': relative(
        'Gemma',
        f'Gemma{LM}',
        transformers.GemmaConfig(
            **GEMMA | {'num_key_value_heads': 1},
            hidden_act='gelu',
            rms_norm_eps=1e-3,
            attention_bias=True,
            rope_parameters={'rope_type': 'linear', 'factor': 4.0, 'rope_theta': 500.0},
        ),
        left=True,
    ),
    'gemma_both': relative(
        'Gemma',
        'GemmaModel',
        transformers.GemmaConfig(**GEMMA, is_causal=False),
        **of_base(last, 32),
    ),
    'gemma2': relative(
        'Gemma 2',
        f'Gemma2{LM}',
        transformers.Gemma2Config(**GEMMA2, hidden_activation='relu'),
        golden=True,
    ),
    'gemma2_odd': relative(
        'Gemma 2',
        f'Gemma2{CLASSES}',
        transformers.Gemma2Config(
            **GEMMA2 | {'attn_logit_softcapping': None, 'num_hidden_layers': 3},
            layer_types=['full_attention', 'full_attention', 'sliding_attention'],
            attention_bias=True,
            rms_norm_eps=1e-3,
            num_labels=LABELS,
        ),
        left=True,
    ),
    'gemma2_untied': relative(
        'Gemma 2',
        f'Gemma2{LM}',
        transformers.Gemma2Config(**GEMMA2, tie_word_embeddings=False),
        left=True,
    ),
    'gemma3': gemma3(
        CLASSES,
        transformers.Gemma3TextConfig(
            **GEMMA3,
            layer_types=['sliding_attention', 'full_attention', 'sliding_attention'],
            num_labels=LABELS,
        ),
        golden=True,
    ),
    'gemma3_odd': gemma3(
        LM,
        transformers.Gemma3TextConfig(
            **GEMMA3,
            sliding_window_pattern=2,
            attention_bias=True,
            final_logit_softcapping=1.5,
            rope_parameters={
                'full_attention': {'rope_type': 'linear', 'factor': 8.0, 'rope_theta': 90.0},
                'sliding_attention': {'rope_type': 'default', 'rope_theta': 30.0},
            },
        ),
        left=True,
    ),
    # EmbeddingGemma.
    'gemma3_both': gemma3(
        'Model',
        transformers.Gemma3TextConfig(**GEMMA3, use_bidirectional_attention=True),
        **of_base(last, 32),
    ),
    'olmo2': relative(
        'OLMo 2',
        f'Olmo2{CLASSES}',
        transformers.Olmo2Config(**LLAMA, num_labels=LABELS),
        golden=True,
    ),
    'olmo2_odd': relative(
        'OLMo 2',
        f'Olmo2{LM}',
        transformers.Olmo2Config(
            **LLAMA | {'num_key_value_heads': 4},
            attention_bias=True,
            hidden_act='gelu',
            rms_norm_eps=1e-3,
            tie_word_embeddings=True,
            rope_parameters={'rope_type': 'linear', 'factor': 4.0, 'rope_theta': 500.0},
        ),
        left=True,
    ),
    'phi3': relative(
        'Phi-3',
        f'Phi3{CLASSES}',
        transformers.Phi3Config(**LLAMA, sliding_window=4, num_labels=LABELS),
        golden=True,
    ),
    'phi3_short': relative(
        'Phi-3',
        f'Phi3{LM}',
        transformers.Phi3Config(
            **LLAMA, original_max_position_embeddings=32, rope_parameters=dict(LONG)
        ),
        left=True,
    ),
    'phi3_long': relative(
        'Phi-3',
        f'Phi3{LM}',
        transformers.Phi3Config(
            **LLAMA | {'num_key_value_heads': 4},
            original_max_position_embeddings=7,
            hidden_act='gelu',
            rms_norm_eps=1e-3,
            tie_word_embeddings=True,
            rope_parameters=dict(LONG),
        ),
    ),
}
