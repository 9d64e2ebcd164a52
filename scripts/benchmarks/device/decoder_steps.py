"""A Llama of 1.1 billion parameters with lora:8 and the chunked loss, beside PEFT."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from benchmarks.device.report import Section
from benchmarks.device.timing import compared, in_turn

LLAMA = {'width': 2048, 'depth': 22, 'heads': 32, 'kv_heads': 4, 'mlp_dim': 5632}
"""TinyLlama's shape (arXiv:2401.02385), 1.1 billion parameters, vocabulary 32,000."""
TINY = {'width': 32, 'depth': 2, 'heads': 4, 'kv_heads': 2, 'mlp_dim': 64}
LORA = {'strategy': 'lora:8', 'head': 'freeze', 'frozen_dtype': 'bfloat16'}


def sizes(tiny: bool) -> tuple[dict[str, Any], int, int, int]:
    """(shape, vocabulary, batch, tokens of a text).

    The tiny ones have more tokens a batch than the loss takes at once, so that it is chunked, and a
    vocabulary that is no other length of the program.
    """
    return (TINY, 250, 4, 512) if tiny else (LLAMA, 32000, 8, 1024)


def made_ids(vocabulary: int, batch: int, time: int) -> np.ndarray:
    """Random tokens, int32 (batch, time): the same on both sides."""
    return np.random.default_rng(0).integers(0, vocabulary, (batch, time)).astype(np.int32)


def training_batch(ids: np.ndarray) -> dict[str, Any]:
    """What a run of `causal_lm` trains on: each token is asked for at the place before it.

    With `targets` the head answers with scores and never makes all logits. The last place is asked
    for nothing, as transformers' loss asks.
    """
    following = np.roll(ids, -1, axis=1)
    asked = np.broadcast_to(np.arange(ids.shape[1]) < ids.shape[1] - 1, ids.shape)
    return {
        'inputs': {'input_ids': ids, 'attention_mask': np.ones_like(ids), 'targets': following},
        'labels': np.stack([following, following], axis=-1),
        'mask': asked.astype(np.float32),
    }


def own_side(tiny: bool) -> Any:
    """Our steps: `lora:8` on a frozen bfloat16 trunk."""
    from benchmarks.device.placed_steps import PlacedSteps, made_variables

    from ftjax.models.registry import build

    shape, vocabulary, batch, time = sizes(tiny)
    options = {**shape, 'vocab_size': vocabulary, 'head': 'lm', 'num_classes': 0}
    network = build('llama', {**options, 'dtype': 'bfloat16'})
    given = training_batch(made_ids(vocabulary, batch, time))
    return PlacedSteps(network, made_variables(network), LORA, given, task='causal_lm')


def decoder(section: Section, tiny: bool) -> None:
    """Next-token loss on every token, beside PEFT."""
    from benchmarks.device.placed_steps import peak_bytes

    shape, vocabulary, batch, time = sizes(tiny)
    ours = own_side(tiny)
    ours.steps(1)
    peak = peak_bytes()
    sides: dict[str, Any] = {'ftjax': ours}
    try:
        side = peft_llama(shape, vocabulary, made_ids(vocabulary, batch, time))
        side.steps(1)
        sides['peft'] = side
    except Exception as error:
        section.leave_out('Llama 1.1B lora:8 PEFT', f'{type(error).__name__}: {error}')
    if 'peft' in sides and sides['peft'].trainable != ours.sizes[1]:
        raise AssertionError(f'{sides["peft"].trainable} and {ours.sizes[1]} train')
    times = in_turn(sides, 0.05 if tiny else 1.0, 3)
    section.row(
        row='Llama 1.1B lora:8',
        kind='beside',
        **compared(times),
        tokens_a_second=batch * time / float(np.median(times['ftjax'])),
        tokens_of_logits=tokens_of_logits(ours.program.as_text(), vocabulary, shape['width']),
        peak_GiB=peak / 2**30,
        forecast_GiB=ours.forecast / 2**30,
        forecast_over_peak=ours.forecast / peak if peak else None,
        compile_seconds=ours.compile_seconds,
        trained=ours.sizes[1],
    )


def tokens_of_logits(program: str, vocabulary: int, width: int) -> int:
    """Most tokens whose logits lie in one array of a compiled program's text; 0 for none.

    The head's kernel, (width, vocabulary) in any order, is not logits.
    """
    found = [0]
    for lengths in set(re.findall(r'\w\[([\d,]+)\]', program)):
        shape = [int(length) for length in lengths.split(',')]
        if vocabulary in shape:
            shape.remove(vocabulary)
            if math.prod(shape) != width:
                found.append(math.prod(shape))
    return max(found)


def peft_llama(shape: dict[str, Any], vocabulary: int, ids: Any) -> Any:
    """Transformers' Llama in bfloat16 with PEFT's LoRA on queries and values."""
    import torch
    from benchmarks.device.torch_placed import TorchPlaced
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape['width'],
        num_hidden_layers=shape['depth'],
        num_attention_heads=shape['heads'],
        num_key_value_heads=shape['kv_heads'],
        intermediate_size=shape['mlp_dim'],
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        use_cache=False,
    )
    config._attn_implementation = 'sdpa'
    model: Any = LlamaForCausalLM(config)
    model = model.to(torch.bfloat16)
    adapters = LoraConfig(r=8, lora_alpha=16, target_modules=['q_proj', 'v_proj'])
    model = get_peft_model(model, adapters).train()
    batch = {'ids': torch.from_numpy(ids).long()}

    def loss(model, batch):
        return model(input_ids=batch['ids'], labels=batch['ids']).loss

    return TorchPlaced(model, model.parameters(), loss, batch)
