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

    def packed(self) -> dict[str, object]:
        """Ready for JSON; a bool takes a bit, a float keeps seven digits.

        >>> scores = ExampleScores(metric='accuracy', values=np.array([True, False, True]))
        >>> unpacked(scores.packed()).values.tolist()
        [True, False, True]
        """
        right = self.values.dtype == bool
        data = np.packbits(self.values) if right else self.values.astype('<f4')
        text = base64.b64encode(zlib.compress(data.tobytes(), 9)).decode('ascii')
        kind = 'bits' if right else 'float32'
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
