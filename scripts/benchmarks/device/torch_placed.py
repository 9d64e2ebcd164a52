"""The other side on a device: PyTorch's training step, on a batch that lies there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

HALF = torch.bfloat16


class TorchPlaced:
    """AdamW steps under bfloat16 autocast; the loss is waited for at the end of `steps`.

    Args:
      model: on any device; moved to the GPU where there is one.
      trained: its parameters that train; the others have requires_grad False.
      loss: (model, batch) -> a scalar.
      batch: tensors, or a tree of them in dicts.
      compiled: whether the model goes through torch.compile.
      channels_last: the memory format that convolutions are fastest in on a GPU.
    """

    def __init__(
        self,
        model: Any,
        trained: Iterable[Any],
        loss: Callable[[Any, Any], Any],
        batch: Any,
        *,
        compiled: bool = False,
        channels_last: bool = False,
    ):
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        torch.set_float32_matmul_precision('high' if self.device == 'cuda' else 'highest')
        torch.backends.cudnn.benchmark = True
        model = model.to(self.device)
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        trained = [leaf for leaf in trained if leaf.requires_grad]
        self.trainable = sum(leaf.numel() for leaf in trained)
        self.size = sum(leaf.numel() for leaf in model.parameters())
        fused = self.device == 'cuda'
        self.optimizer = torch.optim.AdamW(trained, 1e-4, weight_decay=0.01, fused=fused)
        self.model = torch.compile(model) if compiled else model
        self.loss, self.batch = loss, placed(batch, self.device)

    def steps(self, count: int) -> int:
        """Runs so many steps; how many it were."""
        loss = None
        for _ in range(count):
            with torch.autocast(self.device, HALF):
                loss = self.loss(self.model, self.batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        assert loss is not None
        value = loss.item()
        if value != value:
            raise FloatingPointError('a loss of PyTorch is not a number')
        return count


def placed(tree: Any, device: str) -> Any:
    """Arrays and tensors of nested dicts on a device."""
    if isinstance(tree, dict):
        return {name: placed(value, device) for name, value in tree.items()}
    return torch.as_tensor(tree).to(device)
