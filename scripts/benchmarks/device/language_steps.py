"""BERT-base beside transformers, and a Llama of 1.1 billion parameters beside PEFT."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.device.report import Section
from benchmarks.device.timing import cleared, compared, in_turn, product_rate, sheet_rate

BERT = {'width': 768, 'depth': 12, 'heads': 12, 'mlp_dim': 3072, 'num_classes': 10}
TINY_BERT = {'width': 32, 'depth': 3, 'heads': 2, 'mlp_dim': 64, 'num_classes': 10}
LLAMA = {'width': 2048, 'depth': 22, 'heads': 32, 'kv_heads': 4, 'mlp_dim': 5632}
"""TinyLlama's shape (arXiv:2401.02385), 1.1 billion parameters, vocabulary 32,000."""
TINY_LLAMA = {'width': 32, 'depth': 2, 'heads': 4, 'kv_heads': 2, 'mlp_dim': 64}


def run(section: Section, tiny: bool) -> None:
    """A row a strategy of BERT, and one of the decoder."""
    section.note(product_rate=product_rate(512 if tiny else 8192), sheet_rate=sheet_rate())
    decoder(section, tiny)
    cleared()
    for strategy in ('full', 'last:2', 'lora:8'):
        bert(section, strategy, tiny)
        cleared()


def texts(batch: int, time: int, vocabulary: int) -> dict[str, np.ndarray]:
    """Random tokens, padded on the right: lengths are spread from half to all of `time`."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, vocabulary, (batch, time)).astype(np.int32)
    length = np.linspace(time // 2, time, batch).astype(int)
    mask = (np.arange(time) < length[:, None]).astype(np.int32)
    return {'input_ids': ids * mask, 'attention_mask': mask}


def sizes(tiny: bool) -> tuple[dict[str, Any], int, int]:
    """(options, batch, tokens) of BERT."""
    return (TINY_BERT, 4, 16) if tiny else (BERT, 128, 128)


def bert(section: Section, strategy: str, tiny: bool) -> None:
    """BERT-base, batch 128 of up to 128 tokens, beside eager and compiled PyTorch."""
    from benchmarks.device.placed_steps import PlacedSteps, made_variables

    from ftjax.models.registry import build

    options, batch, time = sizes(tiny)
    noiseless = {'dropout': 0.0, 'head_dropout': 0.0}
    network = build('bert', {**options, **noiseless, 'dtype': 'bfloat16'})
    tokens = texts(batch, time, 30522)
    labels = (np.arange(batch) % 10).astype(np.int32)
    inputs = {**tokens, 'token_type_ids': np.zeros_like(tokens['input_ids'])}
    given = {'inputs': inputs, 'labels': labels, 'mask': np.ones(batch, np.float32)}
    ours = PlacedSteps(network, made_variables(network), strategy, given)
    sides: dict[str, Any] = {'ftjax': ours}
    for name in ('eager', 'compiled') if strategy == 'full' else ('eager',):
        if name == 'compiled' and section.left < 25:
            section.leave_out(f'BERT-base {strategy} compiled', 'no time left to compile it')
            continue
        try:
            side = torch_bert(strategy, options, tokens, labels, name == 'compiled')
            side.steps(1)
            sides[name] = side
        except Exception as error:
            section.leave_out(f'BERT-base {strategy} {name}', f'{type(error).__name__}: {error}')
    times = in_turn(sides, 0.05 if tiny else 0.6, 3)
    median = float(np.median(times['ftjax']))
    section.row(
        row=f'BERT-base {strategy}',
        kind='beside',
        **compared(times),
        tokens_a_second=float(tokens['attention_mask'].sum()) / median,
        compile_seconds=ours.compile_seconds,
        trained=ours.sizes[1],
    )


def torch_bert(
    strategy: str, options: dict[str, Any], tokens: Any, labels: Any, compiled: bool
) -> Any:
    """The BERT of transformers."""
    import torch
    import torch.nn.functional as F
    from benchmarks import torch_steps
    from benchmarks.device.torch_placed import TorchPlaced

    model = torch_steps.made_bert(options).train()
    trunk = model.bert
    parts = {'head': model.classifier, 'blocks': trunk.encoder.layer, 'after': [trunk.pooler]}
    trained = torch_steps.opened(model, parts, strategy)
    batch = {name: torch.from_numpy(array).long() for name, array in tokens.items()}
    batch['labels'] = torch.from_numpy(labels).long()

    def loss(model, batch):
        out = model(input_ids=batch['input_ids'], attention_mask=batch['attention_mask'])
        return F.cross_entropy(out.logits.float(), batch['labels'])

    return TorchPlaced(model, trained, loss, batch, compiled=compiled)


def decoder(section: Section, tiny: bool) -> None:
    """lora:8 on a frozen bfloat16 trunk: next-token loss on every token, beside PEFT."""
    from benchmarks.device.placed_steps import PlacedSteps, made_variables, peak_bytes

    from ftjax.models.registry import build

    shape, batch, time = (TINY_LLAMA, 2, 16) if tiny else (LLAMA, 8, 1024)
    vocabulary = 128 if tiny else 32000
    options = {**shape, 'vocab_size': vocabulary, 'head': 'lm', 'num_classes': 0}
    network = build('llama', {**options, 'dtype': 'bfloat16'})
    ids = np.random.default_rng(0).integers(0, vocabulary, (batch, time)).astype(np.int32)
    inputs = {'input_ids': ids, 'attention_mask': np.ones_like(ids)}
    # Each token is asked for at the place before it; the last place is asked for nothing.
    mask = np.broadcast_to(np.arange(time) < time - 1, ids.shape).astype(np.float32)
    given = {'inputs': inputs, 'labels': np.roll(ids, -1, 1), 'mask': mask}
    freeze = {'strategy': 'lora:8', 'head': 'freeze', 'frozen_dtype': 'bfloat16'}
    ours = PlacedSteps(network, made_variables(network), freeze, given, task='masked_tokens')
    ours.steps(1)
    peak = peak_bytes()
    sides: dict[str, Any] = {'ftjax': ours}
    try:
        side = peft_llama(shape, vocabulary, ids)
        side.steps(1)
        sides['peft'] = side
    except Exception as error:
        section.leave_out('Llama 1.1B lora:8 PEFT', f'{type(error).__name__}: {error}')
    times = in_turn(sides, 0.05 if tiny else 1.0, 3)
    section.row(
        row='Llama 1.1B lora:8',
        kind='beside',
        **compared(times),
        tokens_a_second=batch * time / float(np.median(times['ftjax'])),
        peak_GiB=peak / 2**30,
        forecast_GiB=ours.forecast / 2**30,
        forecast_over_peak=ours.forecast / peak if peak else None,
        compile_seconds=ours.compile_seconds,
        trained=ours.sizes[1],
    )


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
