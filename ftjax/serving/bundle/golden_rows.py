"""Rows of goldens cut to what a program takes, and outputs without padding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ftjax.errors import UserError
from ftjax.serving.bundle.goldens import Goldens
from ftjax.serving.bundle.signature import LENGTH, Signature

Arrays = Mapping[str, np.ndarray]


def fitting(
    goldens: Goldens, signature: Signature, bucket: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The rows of goldens that a program's length holds, cut to it, and their positions."""
    everything = np.arange(len(goldens.outputs))
    if not signature.lengths:
        return dict(goldens.inputs), everything
    lengths = goldens.inputs['attention_mask'].sum(axis=1)
    at = everything[lengths <= bucket]
    cut = {
        name: array[at][:, :bucket] if LENGTH in signature.inputs[name].shape else array[at]
        for name, array in goldens.inputs.items()
    }
    return cut, at


def real_outputs(outputs: np.ndarray, inputs: Arrays, signature: Signature) -> np.ndarray:
    """Outputs of rows; of tokens (n, t, ..) up to the longest row, 0 at padding."""
    if LENGTH not in signature.row_shape:
        return outputs
    lengths = inputs['attention_mask'].sum(axis=1)
    outputs = outputs[:, : lengths.max()]
    real = np.arange(outputs.shape[1]) < lengths[:, None]
    return np.where(real.reshape(*real.shape, *(1,) * (outputs.ndim - 2)), outputs, 0)


def to_length(array: np.ndarray, length: int, pad: int) -> np.ndarray:
    """Tokens (n, t) padded on the right to (n, length)."""
    if array.shape[1] > length:
        raise UserError(f'texts of {array.shape[1]} tokens for a program of {length}')
    return np.pad(array, ((0, 0), (0, length - array.shape[1])), constant_values=pad)
