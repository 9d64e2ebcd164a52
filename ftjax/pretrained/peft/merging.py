"""What each kind of PEFT's adapters makes of a layer's weights.

Weights are (outputs, inputs, ..), as PyTorch has them; of Conv1D of GPT-2 the transposed ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ftjax.io.json.json_values import JsonObject

Shape = tuple[int, ...]
FIRST = {'lora_A.weight': 'lora_B.weight', 'lora_embedding_A': 'lora_embedding_B'}


def fits(shape: Shape, parts: Mapping[str, Shape]) -> bool:
    """Whether the parts of an adapter act on weights (outputs, inputs, ..) or a bias (outputs,)."""
    if not shape or not all(parts.values()):
        return False
    inputs = math.prod(shape[1:])
    if (found := parts.get('ia3_l')) is not None:
        return found in ((shape[0], 1), (1, *shape[1:2]))
    if (found := parts.get('oft_R.weight')) is not None:
        size = block_size(found[-1])
        blocks = len(found) == 2 and found[0] in (1, inputs / size)
        return blocks and inputs % size == 0 and size * (size - 1) // 2 == found[1]
    first = next((name for name in FIRST if name in parts), None)
    if first is None:
        return False
    a, b = parts[first], parts[FIRST[first]]
    made = (b[0], math.prod(a[1:]))
    lengths = math.prod(parts.get('lora_magnitude_vector', (b[0],)))
    same_rank = len(a) > 1 and a[0] == math.prod(b[1:]) and a[0] > 0
    expected = shape[::-1] if first == 'lora_embedding_A' else (shape[0], inputs)
    return same_rank and made == expected and lengths == b[0]


def block_size(entries: int) -> int:
    """Of a matrix whose strict upper triangle has so many entries."""
    return round((1 + (1 + 8 * entries) ** 0.5) / 2)


def with_lora(
    weight: np.ndarray, tensors: Mapping[str, np.ndarray], alpha: float, fields: JsonObject
) -> np.ndarray:
    """W + s B A, and with a magnitude m (outputs,) also m (W + s B A) / |W + s B A|.

    A (rank, inputs, ..) and B (outputs, rank, ..); of a convolution A has its window. s is
    alpha / rank, for rsLoRA alpha / sqrt(rank). An embedding's A is (rank, rows), its B (width,
    rank).
    """
    first = next(name for name in FIRST if name in tensors)
    a, b = tensors[first], tensors[FIRST[first]]
    rank = len(a)
    scale = alpha / (rank**0.5 if fields.get('use_rslora') else rank)
    product = b.reshape(len(b), rank) @ a.reshape(rank, -1)
    if first == 'lora_embedding_A':
        product = product.T
    merged = weight + scale * product.reshape(weight.shape)
    magnitude = tensors.get('lora_magnitude_vector')
    if magnitude is None:
        return merged
    outputs = 1 if first == 'lora_embedding_A' else 0
    others = tuple(axis for axis in range(merged.ndim) if axis != outputs)
    lengths = np.sqrt(np.square(merged).sum(axis=others, keepdims=True))
    return merged * (magnitude.reshape(lengths.shape) / lengths)


def with_oft(weight: np.ndarray, vectors: np.ndarray, fields: JsonObject) -> np.ndarray:
    """The weight behind inputs that are rotated block by block: of x R before W, W R'.

    The vectors (blocks, size (size - 1) / 2) are strict upper triangles of skew matrices Q, row by
    row. R = (I - Q)(I + Q)^-1, or PEFT's Neumann series, whose sign of Q is the other one. One
    vector for all blocks is shared by them.
    """
    size = block_size(vectors.shape[1])
    rows, columns = np.triu_indices(size, 1)
    skew = np.zeros((len(vectors), size, size), np.float32)
    skew[:, rows, columns] = vectors
    skew -= skew.swapaxes(1, 2)
    identity = np.eye(size, dtype=np.float32)
    if fields.get('use_cayley_neumann', True):
        turned = neumann(skew, fields.get('num_cayley_neumann_terms', 5))
    else:
        turned = (identity - skew) @ np.linalg.inv(identity + skew)
    flat = weight.reshape(len(weight), -1, size)
    shared = np.broadcast_to(turned, (flat.shape[1], size, size))
    return np.einsum('onc,nkc->onk', flat, shared).reshape(weight.shape)


def neumann(skew: np.ndarray, terms: int) -> np.ndarray:
    """I + 2 Q + 2 Q^2 + .. as PEFT cuts it: the last of three and more terms counts once."""
    found = np.broadcast_to(np.eye(skew.shape[-1], dtype=skew.dtype), skew.shape).copy()
    power = skew
    twice = min(terms - 1, 2) if terms < 4 else terms - 2
    for _ in range(twice):
        found += 2 * power
        power = power @ skew
    return found + power if terms > 2 else found


def with_ia3(weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Outputs of weights or of a bias scaled by factors (outputs, 1), or inputs by (1, inputs)."""
    if weight.ndim == 1:
        return weight * factors[:, 0]
    return weight * factors.reshape(*factors.shape, *[1] * (weight.ndim - 2))
