"""The other side: a ViT and its fine-tuning as PyTorch users write them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# Threads that wait by spinning take the cores from the other side, and from each other on a
# machine that does anything else: PyTorch was up to 50 times slower so. Read at import.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """A pre-norm block, with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, time_, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, time_, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(y.transpose(1, 2).reshape(batch, time_, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    """Class token, learned positions, final norm, linear head: of the token, or of each patch."""

    def __init__(
        self,
        image: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        classes: int,
        dense: bool = False,
    ):
        super().__init__()
        self.dense, self.side = dense, image // patch
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, (image // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.places
        for block in self.blocks:
            x = block(x)
        if self.dense:
            x = self.head(self.norm(x[:, 1:])).transpose(1, 2)
            return x.reshape(len(x), -1, self.side, self.side)
        return self.head(self.norm(x[:, 0]))


def opened(model: ViT, freeze: str) -> ViT:
    """The model with `full`, `head` or `last:k` open and the rest without gradient."""
    count = len(model.blocks) if freeze == 'full' else int(freeze.partition(':')[2] or 0)
    model.requires_grad_(freeze == 'full')
    kept = [model.head] if count == 0 else [*model.blocks[-count:], model.norm, model.head]
    for module in kept if freeze != 'full' else []:
        module.requires_grad_(True)
    return model


class FineTuning:
    """Training steps on images in memory, the frozen stages run at every one."""

    def __init__(self, freeze: str, images: np.ndarray, labels: np.ndarray, batch: int, **options):
        torch.manual_seed(0)
        self.model = opened(ViT(images.shape[1], classes=int(labels.max()) + 1, **options), freeze)
        trained = [leaf for leaf in self.model.parameters() if leaf.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, 1e-3, weight_decay=0.01)
        self.images = torch.tensor(images).permute(0, 3, 1, 2).contiguous()
        self.labels, self.batch = torch.tensor(labels).long(), batch
        self.order = torch.randperm(len(labels))
        self.place, self.threads = 0, 1

    def choose_threads(self, most: int) -> None:
        """Takes one thread or `most`, whichever runs a step faster."""

        def step(count: int) -> None:
            self.threads = count
            self.steps(1)

        self.threads = faster_threads(step, most)

    def steps(self, count: int) -> None:
        """Runs some steps."""
        torch.set_num_threads(self.threads)
        for _ in range(count):
            if self.place + self.batch > len(self.order):
                self.order, self.place = torch.randperm(len(self.order)), 0
            rows = self.order[self.place : self.place + self.batch]
            self.place += self.batch
            inputs = (self.images[rows].float() / 255 - 0.5) / 0.5
            loss = F.cross_entropy(self.model(inputs), self.labels[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            loss.item()


def train_head(
    features: np.ndarray,
    labels: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    rate: float,
    seed: int,
    epochs: int,
    batch: int,
    threads: int,
) -> None:
    """One linear head on features cached by hand, validated every epoch."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    x, y = torch.from_numpy(features), torch.tensor(labels).long()
    held_x, held_y = torch.from_numpy(held[0]), torch.tensor(held[1]).long()
    head = nn.Linear(x.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(head.parameters(), rate, weight_decay=0.01)
    per_epoch = len(x) // batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * per_epoch)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for step in range(per_epoch):
            rows = order[step * batch : (step + 1) * batch]
            loss = F.cross_entropy(head(x[rows]), y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            outputs = head(held_x)
            F.cross_entropy(outputs, held_y).item()
            (outputs.argmax(-1) == held_y).float().mean().item()


def faster_threads(run: Callable[[int], None], most: int) -> int:
    """1 or `most`, by the better of two calls `run(threads)` each, after one that warms up."""

    def seconds(count: int) -> float:
        began = time.perf_counter()
        run(count)
        return time.perf_counter() - began

    seconds(1)
    return min((1, most), key=lambda count: min(seconds(count), seconds(count)))
