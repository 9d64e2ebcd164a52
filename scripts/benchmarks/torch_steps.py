"""The other side: networks in PyTorch, fine-tuned under the same strategy as PyTorch users do."""

from __future__ import annotations

from typing import Any

# Before PyTorch: it sets how PyTorch's threads wait, which is read at import.
from benchmarks.torch_vit import ViT  # isort: skip

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class ResidualBlock(nn.Module):
    """norm, relu, conv, norm, relu, conv, plus the shortcut: pooled, with channels of zeros."""

    def __init__(self, entry: int, width: int, stride: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, entry), nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(entry, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.stride, self.missing = stride, width - entry

    def forward(self, x):
        y = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        if self.stride > 1:
            x = F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, 0, self.missing))
        return x + y


class ResNet(nn.Module):
    """The CIFAR ResNet with GroupNorm: three groups of blocks of 16, 32 and 64 channels."""

    def __init__(self, depth: int, classes: int):
        super().__init__()
        widths = [16 << group for group in range(3) for _ in range((depth - 2) // 6)]
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.blocks = nn.ModuleList(
            ResidualBlock(entry, width, width // entry)
            for entry, width in zip([16, *widths], widths, strict=False)
        )
        self.norm, self.head = nn.GroupNorm(8, 64), nn.Linear(64, classes)

    def forward(self, images):
        x = self.stem(images)
        for block in self.blocks:
            x = block(x)
        return self.head(F.relu(self.norm(x)).mean((2, 3)))


class LowRank(nn.Module):
    """A dense layer plus low-rank products on some of its slices of outputs."""

    def __init__(self, base: nn.Linear, rank: int, slices: tuple[slice, ...], alpha: float = 16.0):
        super().__init__()
        self.base, self.slices, self.scale = base, slices, alpha / rank
        down = [nn.Linear(base.in_features, rank, bias=False) for _ in slices]
        up = [nn.Linear(rank, s.stop - s.start, bias=False) for s in slices]
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        for layer in up:
            nn.init.zeros_(layer.weight)

    def forward(self, x):
        y = self.base(x)
        for down, up, part in zip(self.down, self.up, self.slices, strict=True):
            low = up(down(x)) * self.scale
            if low.shape == y.shape:
                return y + low
            y[..., part] += low
        return y


def made(case: Any, data: Any, preprocessing: Any) -> tuple[nn.Module, dict[str, Any], Any]:
    """(model, {its head and blocks, and what comes after}, all inputs) of a case."""
    options = case.options
    images = case.unit != 'sentences'
    inputs: Any = torch.tensor(data.train.inputs).permute(0, 3, 1, 2) if images else None
    if case.family == 'vit':
        sizes = {name: options[name] for name in ('width', 'depth', 'heads')}
        sizes |= {'classes': options['num_classes'], 'dense': case.unit == 'masks'}
        model: Any = ViT(options['image_size'], options['patch_size'], **sizes)
        parts = {'head': model.head, 'blocks': model.blocks, 'after': [model.norm]}
    elif case.family == 'resnet_gn_cifar':
        model = ResNet(options['depth'], 10)
        parts = {'head': model.head, 'blocks': model.blocks, 'after': [model.norm]}
    else:
        model, inputs = made_bert(options), made_tokens(data, preprocessing)
        trunk = model.bert
        parts = {'head': model.classifier, 'blocks': trunk.encoder.layer, 'after': [trunk.pooler]}
    return model, parts, inputs.contiguous()


def made_bert(options: dict[str, Any]) -> Any:
    """The BERT of transformers, without dropout."""
    from ftjax.errors import UserError

    try:
        from transformers import BertConfig, BertForSequenceClassification
    except ImportError:
        raise UserError(
            "BERT is measured beside transformers, which is not installed: pip install 'ftjax"
            "[parity]', or leave it out: networks=vit,resnet"
        ) from None
    config: Any = BertConfig(
        vocab_size=30522,
        hidden_size=options['width'],
        num_hidden_layers=options['depth'],
        num_attention_heads=options['heads'],
        intermediate_size=options['mlp_dim'],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config.num_labels = options['num_classes']
    config._attn_implementation = 'sdpa'
    return BertForSequenceClassification(config)


def made_tokens(data: Any, preprocessing: Any) -> torch.Tensor:
    """Token ids of the training texts (N, time): all of one length, so there is no padding."""
    from ftjax.data.text.tokenize import tokenize

    tokens = tokenize(data.train.inputs, preprocessing)
    return torch.from_numpy(tokens.ids.reshape(len(tokens), -1)).long()


def opened(model: nn.Module, parts: dict[str, Any], freeze: str) -> list[nn.Parameter]:
    """Freezes all but what the strategy trains; the parameters that train."""
    name, _, amount = freeze.partition(':')
    model.requires_grad_(name == 'full')
    parts['head'].requires_grad_(True)
    if name == 'last':
        for module in [*parts['blocks'][-int(amount) :], *parts['after']]:
            module.requires_grad_(True)
    elif name == 'bitfit':
        for path, leaf in model.named_parameters():
            if path.endswith('bias'):
                leaf.requires_grad_(True)
    elif name == 'lora':
        for block in parts['blocks']:
            add_low_rank(block, int(amount))
    elif name not in ('full', 'head'):
        raise ValueError(f'{freeze} has no counterpart here')
    return [leaf for leaf in model.parameters() if leaf.requires_grad]


def add_low_rank(block: Any, rank: int) -> None:
    """Low-rank products on queries and values."""
    if hasattr(block, 'qkv'):
        width = block.qkv.in_features
        block.qkv = LowRank(block.qkv, rank, (slice(0, width), slice(2 * width, 3 * width)))
        return
    attention = block.attention.self
    for name in ('query', 'value'):
        layer = getattr(attention, name)
        setattr(attention, name, LowRank(layer, rank, (slice(0, layer.out_features),)))


class TorchSteps:
    """Training steps on data in memory, the frozen part run at every one."""

    def __init__(
        self,
        case: Any,
        freeze: str,
        data: Any,
        preprocessing: Any,
        threads: int,
        compiled: bool = False,
    ):
        torch.manual_seed(0)
        self.threads, self.case = threads, case
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        torch.set_float32_matmul_precision('high' if self.device == 'cuda' else 'highest')
        torch.backends.cudnn.allow_tf32 = True  # acts on a GPU only
        model, parts, inputs = made(case, data, preprocessing)
        trained = opened(model, parts, freeze)
        self.trainable = sum(leaf.numel() for leaf in trained)
        self.size = sum(leaf.numel() for leaf in model.parameters())
        self.model: Any = model.to(self.device).train()
        self.optimizer = torch.optim.AdamW(trained, 1e-3, weight_decay=0.01)
        if compiled:
            self.model = torch.compile(self.model)
        labels = data.train.labels
        if case.unit == 'masks':
            labels = np.stack([each.read() for each in labels])
        self.inputs, self.labels = inputs, torch.tensor(np.array(labels)).long()
        self.order, self.place = torch.randperm(len(inputs)), 0

    def steps(self, count: int) -> int:
        """Runs so many steps; the loss is waited for at their end."""
        torch.set_num_threads(self.threads)
        half = self.case.precision == 'bfloat16'
        loss = None
        for _ in range(count):
            rows = self.rows()
            inputs, labels = self.inputs[rows].to(self.device), self.labels[rows].to(self.device)
            with torch.autocast(self.device, torch.bfloat16, enabled=half):
                loss = self.loss(inputs, labels)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        assert loss is not None and np.isfinite(loss.item())
        return count

    def loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean cross-entropy of examples, or of the pixels that are counted."""
        logits = self.logits(inputs)
        if self.case.unit != 'masks':
            return F.cross_entropy(logits, labels)
        size = labels.shape[1:]
        large = F.interpolate(logits, size=size, mode='bilinear', align_corners=False)
        return F.cross_entropy(large, labels, ignore_index=255)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """The model's output for images as bytes, or for tokens."""
        if self.case.unit != 'sentences':
            return self.model((inputs.float() / 255 - 0.5) / 0.5)
        return self.model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits

    def rows(self) -> torch.Tensor:
        """Positions of the next batch."""
        if self.place + self.case.batch > len(self.order):
            self.order, self.place = torch.randperm(len(self.order)), 0
        self.place += self.case.batch
        return self.order[self.place - self.case.batch : self.place]
