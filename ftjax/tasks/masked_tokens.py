"""How well hidden tokens are guessed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.evaluation.intervals import bootstrap_mean_interval, wilson_interval
from ftjax.evaluation.predictions import check_finite


def masked_token_metrics(
    pairs: Iterable[tuple[np.ndarray, Mapping[str, np.ndarray]]], *, confidence: float = 0.95
) -> dict[str, Any]:
    """Numbers over all tokens that were asked for, ready for JSON.

    Args:
      pairs: logits (B, time, vocabulary) with the batch they came from: 'labels' (B, time)
        and 'mask' (B, time), 1 for a token that is asked for.
      confidence: probability content of the intervals, over tokens.

    Returns:
      `n` tokens; `loss`, the cross-entropy in nats, and `accuracy`, each with its `_interval`;
      `perplexity`; `unigram_entropy`, the entropy (nats) of the asked tokens' frequencies: no
      guess that ignores the sentence has a lower loss.

    Raises:
      UserError: nothing was asked for.
      NonFinitePredictions: an output is NaN or infinite.
    """
    losses, right, truth = [], [], []
    for outputs, batch in pairs:
        asked = np.asarray(batch['mask']) > 0
        if not asked.any():
            continue
        logits = np.asarray(outputs)[asked].astype(np.float64)
        labels = np.asarray(batch['labels'])[asked]
        check_finite(logits)
        highest = logits.max(axis=-1, keepdims=True)
        total = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=-1))
        losses.append(total - logits[np.arange(len(labels)), labels])
        right.append(logits.argmax(axis=-1) == labels)
        truth.append(labels)
    if not truth:
        raise UserError('nothing to evaluate: no token of the split is asked for')
    nats, hits = np.concatenate(losses), int(np.concatenate(right).sum())
    _, counts = np.unique(np.concatenate(truth), return_counts=True)
    shares = counts / counts.sum()
    loss = float(nats.mean())
    return {
        'task': 'masked_tokens',
        'n': len(nats),
        'loss': loss,
        'loss_interval': bootstrap_mean_interval(nats, confidence),
        'perplexity': math.exp(min(loss, 700.0)),
        'accuracy': hits / len(nats),
        'accuracy_interval': wilson_interval(hits, len(nats), confidence),
        'unigram_entropy': float(-(shares * np.log(shares)).sum()),
    }
