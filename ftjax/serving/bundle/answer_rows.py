"""Answers as plain values: what is predicted, how probable, and of which classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftjax.errors import UserError
from ftjax.serving.bundle.signature import Signature


def answer_rows(outputs: np.ndarray, signature: Signature) -> list[dict[str, Any]]:
    """One dict an example.

    `predicted` is the class, a list of the classes (of several labels), or the value; `probability`
    is that of the class; `probabilities` has all classes.

    Raises:
      UserError: an output that is no finite number.
    """
    if not np.isfinite(outputs).all():
        raise UserError('the network gave an output that is no finite number')
    decided = signature.decide(outputs)
    if decided is None:
        flat = outputs.reshape(len(outputs), -1)
        return [{'predicted': float(row[0]) if len(row) == 1 else row.tolist()} for row in flat]
    names, rows = signature.class_names, []
    for answered, probabilities in zip(*decided, strict=True):
        chosen = [names[c] for c in np.flatnonzero(answered)]
        row: dict[str, Any] = {'predicted': chosen}
        if signature.activation == 'softmax':
            row = {
                'predicted': chosen[0],
                'probability': float(probabilities[int(np.argmax(answered))]),
            }
        row['probabilities'] = {n: float(p) for n, p in zip(names, probabilities, strict=True)}
        rows.append(row)
    return rows
