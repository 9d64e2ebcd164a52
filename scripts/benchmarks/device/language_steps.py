"""BERT-base beside transformers, and a Llama of 1.1 billion parameters beside PEFT."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.device.decoder_steps import decoder
from benchmarks.device.report import Section
from benchmarks.device.timing import cleared, compared, in_turn, product_rate, sheet_rate

BERT = {'width': 768, 'depth': 12, 'heads': 12, 'mlp_dim': 3072, 'num_classes': 10}
TINY_BERT = {'width': 32, 'depth': 3, 'heads': 2, 'mlp_dim': 64, 'num_classes': 10}


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
