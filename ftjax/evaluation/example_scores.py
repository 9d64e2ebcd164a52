"""What a network scored on each example of a split, packed into a text of some hundred letters.

Two runs on the same examples can then be compared example by example, long after the networks are
gone.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftjax.errors import UserError, shown

ROUNDING = {'bits': 1e-9, 'float32': 1e-4}
"""How far a metric may lie from the mean of its scores, in units of their size, by how they are
kept."""
EXPECTED = 'expected {metric, n, kind, packed}, as rows of runs have them'


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleScores:
    """Scores of the examples of a split, in its order.

    Attributes:
      metric: whose value on the split is their mean.
      values: bool (n,) for right and wrong, else float (n,).
    """

    metric: str
    values: np.ndarray

    @property
    def kind(self) -> str:
        """How they are kept: `bits` for right and wrong, else `float32`."""
        return 'bits' if self.values.dtype == bool else 'float32'

    def agree_with(self, metrics: Mapping[str, float | None]) -> bool:
        """Whether their mean is what the metrics of the split say, where these have it.

        >>> ExampleScores(metric='accuracy', values=np.array([True, False])).agree_with(
        ...     {'accuracy': 0.7}
        ... )
        False
        """
        if self.metric not in metrics:
            return True
        value, count = metrics[self.metric], len(self.values)
        if value is None or metrics.get('n', count) != count:
            return False
        scores = np.asarray(self.values, np.float64)
        size = 1.0 if self.kind == 'bits' else float(abs(scores).mean())
        return bool(abs(scores.mean() - value) <= ROUNDING[self.kind] * size)

    def packed(self) -> dict[str, object]:
        """Ready for JSON; a bool takes a bit, a float keeps seven digits.

        >>> scores = ExampleScores(metric='accuracy', values=np.array([True, False, True]))
        >>> unpacked(scores.packed()).values.tolist()
        [True, False, True]
        """
        kind = self.kind
        data = np.packbits(self.values) if kind == 'bits' else self.values.astype('<f4')
        text = base64.b64encode(zlib.compress(data.tobytes(), 9)).decode('ascii')
        return {'metric': self.metric, 'n': len(self.values), 'kind': kind, 'packed': text}


def unpacked(found: Mapping[str, Any]) -> ExampleScores:
    """What `packed` made.

    Raises:
      UserError: something else.
    """
    try:
        count, kind = int(found['n']), found['kind']
        size = {'bits': (count + 7) // 8, 'float32': 4 * count}[kind]
        # No more is unpacked than so many examples take.
        data = zlib.decompressobj().decompress(base64.b64decode(found['packed']), size + 1)
        if count < 1 or len(data) != size:
            raise ValueError('another number of examples')
        if kind == 'bits':
            values = np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(bool)
        else:
            values = np.frombuffer(data, '<f4').astype(np.float64)
        return ExampleScores(metric=str(found['metric']), values=values)
    except (KeyError, TypeError, ValueError, zlib.error, binascii.Error):
        raise UserError(f'scores of examples are {shown(found)}; {EXPECTED}') from None
