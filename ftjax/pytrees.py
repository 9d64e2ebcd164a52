"""Names of the trees of arrays that pass between rooms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import numpy as np

Array = jax.Array | np.ndarray

Tree = TypeVar('Tree')
"""A tree of arrays; what is returned has the same structure."""

Variables = Mapping[str, Any]
"""A network's variables, nested: collection ('params', 'batch_stats'), stage, module, leaf."""

Flat = dict[str, Array]
"""{path: array}, a path like 'block_00/attn/query/kernel': the form of optimizer states."""

Inputs = Array | Mapping[str, Any]
"""What a stage takes: images (batch, height, width, channels), or arrays by name."""

Batch = Mapping[str, Any]
"""Examples by name: 'inputs', 'labels', 'mask' (0 for padding), 'index' in their split."""
