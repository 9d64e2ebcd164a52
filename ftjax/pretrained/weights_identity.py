"""Which weights a network was opened with: of a file exactly, of what is drawn by a sketch.

What stands in a file is hashed, leaf by leaf. What is drawn or computed (a new head, a resized
table of positions) is told by a few numbers that rounding does not change, because another
processor rounds otherwise.
"""

from __future__ import annotations

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from ftjax.io.json.json_values import JsonObject
from ftjax.leaves import flatten
from ftjax.pytrees import Flat, Variables

COMPUTED = ('resized', 'merged with')
"""How the report tells leaves that were computed of what stands in a file."""
NUMBERS, ENTRIES = 4, 2**16
"""Of a sketch, and entries of a leaf that it looks at."""


def weights_of(variables: Variables, report: JsonObject) -> dict[str, object]:
    """`loaded`, a hash, and `random`, a sketch; what there is nothing of is left out.

    Args:
      variables: of the network as it was opened, before adapters.
      report: its load report as JSON: what was loaded and transformed.
    """
    flat = flatten(variables)
    kept = {*report.get('loaded', {})}
    transformed = report.get('transformed', {}).items()
    kept |= {path for path, how in transformed if not any(word in how for word in COMPUTED)}
    exact = {path: leaf for path, leaf in flat.items() if path in kept}
    other = {path: leaf for path, leaf in flat.items() if path not in kept}
    return {
        **({'loaded': weights_hash(exact)} if exact else {}),
        **({'random': sketch(other)} if other else {}),
    }


def weights_hash(variables: Variables) -> str:
    """SHA-256 (hex) over paths, dtypes, shapes and bytes of all leaves.

    Half precision counts as float32: the same weights are the same however they are held.
    """
    digest, flat = hashlib.sha256(), flatten(variables)
    for path in sorted(flat):
        leaf = np.ascontiguousarray(jax.device_get(flat[path]))
        if leaf.dtype.itemsize == 2 and jnp.issubdtype(leaf.dtype, jnp.floating):
            leaf = leaf.astype(np.float32)
        digest.update(f'{path} {leaf.dtype} {leaf.shape} '.encode())
        digest.update(leaf.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def sketch(leaves: Flat) -> list[float]:
    """A few numbers that tell one draw of random weights from another, whatever the rounding.

    Each is the sum of entries against a wave, over their length: it is about normal for another
    draw, and moves by a millionth where last digits differ.
    """
    sums, length = np.zeros(NUMBERS), 0.0
    for path in sorted(leaves):
        leaf = np.asarray(leaves[path]).reshape(-1)
        leaf = leaf[:: max(1, len(leaf) // ENTRIES)].astype(np.float64)
        phase = int.from_bytes(hashlib.sha256(path.encode()).digest()[:2], 'little')
        steps = np.arange(len(leaf))
        for number in range(NUMBERS):
            sums[number] += leaf @ np.cos((1 + number / NUMBERS) * steps + phase + number)
        length += float(leaf @ leaf)
    return [round(float(x), 4) for x in sums / np.sqrt(length)] if length else [0.0] * NUMBERS
