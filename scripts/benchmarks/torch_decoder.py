"""The other side: a Llama of transformers, fine-tuned as its users do, and its `generate`."""

from __future__ import annotations

import os
from typing import Any

# PyTorch's threads wait without spinning: read at import.
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

import numpy as np
import torch


def saved(folder: Any, vocabulary: int, width: int, depth: int, heads: int, longest: int) -> Any:
    """A Llama with random weights, saved where both sides open it."""
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=longest,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


class TorchDecoder:
    """Training steps on token ids in memory, the frozen part run at every one."""

    def __init__(self, folder: Any, freeze: str, ids: np.ndarray, batch: int, threads: int):
        import transformers

        torch.set_num_threads(threads)
        self.model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
        self.ids, self.batch, self.place = torch.from_numpy(ids).long(), batch, 0
        trained = self.opened(freeze)
        self.trainable = sum(leaf.numel() for leaf in trained)
        self.model.train()
        self.optimizer = torch.optim.AdamW(trained, 1e-3, weight_decay=0.01)

    def opened(self, freeze: str) -> list[Any]:
        """Freezes all but what the strategy trains; the parameters that train."""
        from benchmarks.torch_steps import LowRank

        name, _, amount = freeze.partition(':')
        trunk = self.model.model
        self.model.requires_grad_(name == 'full')
        if name == 'last':
            for module in [*trunk.layers[-int(amount) :], trunk.norm]:
                module.requires_grad_(True)
        if name == 'lora':
            for layer in trunk.layers:
                for part in ('q_proj', 'v_proj'):
                    base = getattr(layer.self_attn, part)
                    whole = (slice(0, base.out_features),)
                    setattr(layer.self_attn, part, LowRank(base, int(amount), whole))
        return [leaf for leaf in self.model.parameters() if leaf.requires_grad]

    def steps(self, count: int) -> None:
        """Runs so many steps."""
        loss = None
        for _ in range(count):
            rows = (torch.arange(self.batch) + self.place) % len(self.ids)
            self.place += self.batch
            ids = self.ids[rows]
            loss = self.model(input_ids=ids, labels=ids).loss
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        assert loss is not None and np.isfinite(loss.item())

    def generate(self, ids: np.ndarray, new: int) -> np.ndarray:
        """Greedy texts with the cache of transformers."""
        self.model.eval()
        given = torch.from_numpy(ids).long()
        with torch.inference_mode():
            out = self.model.generate(
                given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=False,
            )
        return out.numpy()[:, ids.shape[1] :]
