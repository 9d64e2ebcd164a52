"""Tiny causal text models of transformers: GPT-2, Llama, Mistral, Qwen2, Qwen3; one row a case."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers
from parity_engine import IGNORED
from parity_text import LENGTHS, blocks, case, forward, labels, token_labels, tokens, whole

VOCAB, PAD, LABELS = 40, 0, 5
GPT2 = {
    'vocab_size': VOCAB,
    'n_positions': 12,
    'n_embd': 32,
    'n_layer': 2,
    'n_head': 4,
    'pad_token_id': PAD,
    'bos_token_id': 1,
    'eos_token_id': 2,
}
LLAMA = {
    'vocab_size': VOCAB,
    'hidden_size': 32,
    'intermediate_size': 40,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'max_position_embeddings': 64,
    'pad_token_id': PAD,
}
# Of the 8 pairs of a head's channels some are above, between and below the two bounds.
LLAMA3 = {
    'rope_type': 'llama3',
    'rope_theta': 50.0,
    'factor': 8.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': 48,
}


def padded_left(rng):
    """Token inputs with the padding before the sentence, as generators are fed."""
    inputs = tokens(VOCAB, pad_id=PAD)(rng)
    shift = inputs['attention_mask'].shape[1] - inputs['attention_mask'].sum(1)
    return {
        name: np.stack([np.roll(row, by) for row, by in zip(array, shift, strict=True)])
        for name, array in inputs.items()
    }


def forward_left(model, inputs):
    """Positions count from the first real token; transformers leaves that to the caller."""
    counted = (inputs['attention_mask'].cumsum(-1) - 1).clamp(min=0)
    return forward(model, {**inputs, 'position_ids': counted})


def last(output):
    """The last real token of each sentence padded on the right."""
    return whole(output)[torch.arange(len(LENGTHS)), torch.tensor(LENGTHS) - 1]


def very_last(output):
    return whole(output)[:, -1]


def decoder(family: str, build, config, paths: dict[str, str], *, left=False, lm=False, **more):
    """A classifier, or with `lm` a language model; `paths` names the modules of the stages."""
    pool = whole if lm else very_last if left else last
    taps: dict[str, Any] = {
        'embed': (paths['embed'], whole),
        **blocks(paths['blocks'], config.num_hidden_layers),
        'norm': (paths['norm'], pool),
    }
    if left:
        more |= {'inputs': padded_left, 'forward': forward_left}
    if lm:
        more |= {'labels': next_tokens if left else token_labels(VOCAB)}
    return case(family, build, config, taps, **more)


def next_tokens(rng):
    """A label for each token of sentences padded on the left."""
    real = np.arange(max(LENGTHS)) >= max(LENGTHS) - np.asarray(LENGTHS)[:, None]
    return np.where(real, rng.integers(0, VOCAB, real.shape), IGNORED)


def gpt2(kind, config, **more):
    base = '' if kind == 'Model' else 'transformer.'
    paths = {'embed': f'{base}drop', 'blocks': f'{base}h', 'norm': f'{base}ln_f'}
    return decoder('GPT-2', getattr(transformers, f'GPT2{kind}'), config, paths, **more)


def llama(prefix, kind, config, **more):
    base = '' if kind == 'Model' else 'model.'
    paths = {'embed': f'{base}embed_tokens', 'blocks': f'{base}layers', 'norm': f'{base}norm'}
    return decoder(prefix, getattr(transformers, f'{prefix}{kind}'), config, paths, **more)


def of_base(pool, width, **options):
    """What a bare model's case has: its own output, pooled, and no head."""
    return {
        'logits': lambda output: pool(output.last_hidden_state),
        'labels': labels(width),
        'options': {'options': options} if options else {},
    }


CLASSES = 'ForSequenceClassification'
CASES = {
    'gpt2': gpt2(CLASSES, transformers.GPT2Config(**GPT2, num_labels=LABELS), golden=True),
    'gpt2_odd': gpt2(
        CLASSES,
        transformers.GPT2Config(
            **GPT2 | {'n_layer': 3},
            n_inner=24,
            activation_function='relu',
            layer_norm_epsilon=1e-3,
            num_labels=LABELS,
        ),
        left=True,
        golden=True,
    ),
    'gpt2_lm': gpt2('LMHeadModel', transformers.GPT2Config(**GPT2), lm=True, golden=True),
    'gpt2_lm_untied': gpt2(
        'LMHeadModel',
        transformers.GPT2Config(**GPT2, activation_function='silu', tie_word_embeddings=False),
        lm=True,
        left=True,
    ),
    'gpt2_base': gpt2('Model', transformers.GPT2Config(**GPT2), **of_base(last, 32)),
    'llama': llama(
        'Llama', CLASSES, transformers.LlamaConfig(**LLAMA, num_labels=LABELS), golden=True
    ),
    'llama_odd': llama(
        'Llama',
        CLASSES,
        transformers.LlamaConfig(
            **LLAMA | {'num_key_value_heads': 1, 'num_hidden_layers': 3},
            head_dim=16,
            hidden_act='gelu',
            rms_norm_eps=1e-3,
            attention_bias=True,
            mlp_bias=True,
            rope_parameters=LLAMA3,
            num_labels=LABELS,
        ),
        left=True,
        golden=True,
    ),
    'llama_lm': llama(
        'Llama',
        'ForCausalLM',
        transformers.LlamaConfig(**LLAMA, tie_word_embeddings=True),
        lm=True,
        golden=True,
    ),
    'llama_lm_untied': llama(
        'Llama',
        'ForCausalLM',
        transformers.LlamaConfig(
            **LLAMA | {'num_key_value_heads': 4},
            rope_parameters={'rope_type': 'linear', 'factor': 4.0, 'rope_theta': 500.0},
        ),
        lm=True,
        left=True,
    ),
    'llama_base': llama('Llama', 'Model', transformers.LlamaConfig(**LLAMA), **of_base(last, 32)),
    'mistral': llama(
        'Mistral',
        CLASSES,
        transformers.MistralConfig(**LLAMA, sliding_window=4, num_labels=LABELS),
        golden=True,
    ),
    'mistral_odd': llama(
        'Mistral',
        CLASSES,
        transformers.MistralConfig(**LLAMA, sliding_window=None, head_dim=10, num_labels=LABELS),
        left=True,
    ),
    'qwen2': llama(
        'Qwen2', CLASSES, transformers.Qwen2Config(**LLAMA, num_labels=LABELS), golden=True
    ),
    'qwen2_odd': llama(
        'Qwen2',
        'ForCausalLM',
        transformers.Qwen2Config(
            **LLAMA,
            tie_word_embeddings=True,
            use_sliding_window=True,
            sliding_window=3,
            max_window_layers=1,
        ),
        lm=True,
        left=True,
    ),
    # As the files of Qwen 2.5 say it.
    'qwen2_5': llama(
        'Qwen2',
        'ForCausalLM',
        transformers.Qwen2Config(
            **LLAMA,
            max_window_layers=1,
            rope_theta=1000000.0,
            sliding_window=4,
            tie_word_embeddings=True,
            use_sliding_window=False,
        ),
        lm=True,
        left=True,
    ),
    'qwen3': llama(
        'Qwen3',
        CLASSES,
        transformers.Qwen3Config(**LLAMA, head_dim=12, num_labels=LABELS),
        golden=True,
    ),
    'qwen3_odd': llama(
        'Qwen3',
        'ForCausalLM',
        transformers.Qwen3Config(**LLAMA, head_dim=8, attention_bias=True, rope_parameters=LLAMA3),
        lm=True,
    ),
    # Decoders that see on both sides, as embedding models of texts do.
    'gpt2_both': gpt2(
        CLASSES, transformers.GPT2Config(**GPT2, is_causal=False, num_labels=LABELS), left=True
    ),
    'llama_both': llama(
        'Llama', 'Model', transformers.LlamaConfig(**LLAMA, is_causal=False), **of_base(last, 32)
    ),
    'mistral_both': llama(
        'Mistral',
        CLASSES,
        transformers.MistralConfig(**LLAMA, sliding_window=2, is_causal=False, num_labels=LABELS),
        golden=True,
    ),
    'qwen2_both': llama(
        'Qwen2',
        'ForCausalLM',
        transformers.Qwen2Config(
            **LLAMA,
            is_causal=False,
            use_sliding_window=True,
            sliding_window=2,
            max_window_layers=1,
        ),
        lm=True,
    ),
    'qwen3_both': llama(
        'Qwen3',
        CLASSES,
        transformers.Qwen3Config(**LLAMA, head_dim=12, is_causal=False, num_labels=LABELS),
    ),
}
